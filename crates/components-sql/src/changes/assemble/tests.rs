//! Every change arrives once, with any list of messages and with cuts between any two.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::super::change::Xid;
use super::super::position::Phase;
use super::*;

/// Headers and body of an event.
type Seen = (BTreeMap<String, String>, String);

fn events(batch: &Batch) -> Vec<Seen> {
    let mut seen = Vec::new();
    for event in batch.iter() {
        let headers = event.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        seen.push((headers.collect(), String::from_utf8(event.body().to_vec()).unwrap()));
    }
    seen
}

fn column(name: &str, is_key: bool, kind: &Type) -> Column {
    Column { name: name.to_owned(), is_key, meaning: Meaning::from_type(kind) }
}

fn table(columns: Vec<Column>) -> Table {
    Table::new("shop".to_owned(), "t1".to_owned(), columns)
}

fn columns() -> Vec<Column> {
    vec![
        column("id", true, &Type::INT4),
        column("note", false, &Type::TEXT),
        column("long", false, &Type::TEXT),
    ]
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn assembler(state: State) -> Assembler {
    let mut assembler = Assembler::new(state);
    assert_eq!(assembler.relation(1, table(columns())), None);
    assembler
}

#[test]
fn an_event_names_the_operation_and_the_row() {
    let mut assembler = assembler(State { phase: Phase::Changes, ..State::default() });
    assembler.begin(Lsn(0x1_0000_0010), 1_234, Some(Xid::Number(77)));
    let row = |id: &str, note: Cell, long: Cell| vec![text(id), note, long];
    let old = |is_whole, row| Old { is_whole, row };
    for change in [
        Change::Insert(row("1", text("a\"b"), Cell::Null)),
        Change::Update { old: None, new: row("1", text("c"), Cell::Unchanged) },
        Change::Update {
            old: Some(old(false, row("1", Cell::Null, Cell::Null))),
            new: row("2", Cell::Null, text("l")),
        },
        Change::Update {
            old: Some(old(true, row("2", Cell::Null, text("l")))),
            new: row("2", text("n"), Cell::Unchanged),
        },
        Change::Delete(old(false, row("2", Cell::Null, Cell::Null))),
        Change::Delete(old(true, row("3", Cell::Null, text("l")))),
        Change::Truncate,
    ] {
        assembler.change(1, change).unwrap();
    }
    assembler.commit(Lsn(0x1_0000_0040));
    let (gathered, state) = assembler.flush(&"in".into()).unwrap();
    assert_eq!((state.done, state.part), (Lsn(0x1_0000_0040), None));
    let seen = events(&gathered.batch);
    let bodies: Vec<&str> = seen.iter().map(|(_, body)| &**body).collect();
    let expected = [
        r#"{"id":1,"note":"a\"b","long":null}"#,
        r#"{"id":1,"note":"c"}"#,
        r#"{"id":2,"note":null,"long":"l"}"#,
        r#"{"id":2,"note":"n","long":"l"}"#,
        r#"{"id":2}"#,
        r#"{"id":3,"note":null,"long":"l"}"#,
        "{}",
    ];
    assert_eq!(bodies, expected);
    let header = |name: &str| -> Vec<String> {
        seen.iter().map(|(headers, _)| headers.get(name).cloned().unwrap_or_default()).collect()
    };
    let operations = ["insert", "update", "update", "update", "delete", "delete", "truncate"];
    assert_eq!(header("operation"), operations);
    assert_eq!(header("key"), ["1", "1", "2", "2", "2", "3", ""]);
    assert_eq!(header("change"), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(header("unchanged"), ["", "long", "", "", "", "", ""]);
    assert_eq!(header("old")[2], r#"{"id":1}"#);
    assert_eq!(header("old")[3], r#"{"id":2,"note":null,"long":"l"}"#);
    for (name, value) in
        [("lsn", "1/10"), ("xid", "77"), ("schema", "shop"), ("table", "t1"), ("timestamp", "1234")]
    {
        assert!(header(name).iter().all(|it| it == value), "{name}: {:?}", header(name));
    }
}

/// A log of transactions: commit position, end position, and number of changes.
const LOG: [(u64, u64, usize); 5] =
    [(10, 20, 2), (20, 35, 0), (40, 45, 5), (45, 50, 1), (60, 70, 3)];

/// Sends the log from the assembler's position, with a flush where `flushes` is true, and stops
/// after `until` changes. Returns the stored bodies.
fn send(state: State, flushes: impl Fn(usize) -> bool, until: usize) -> (Vec<String>, State) {
    let (mut assembler, mut stored, mut kept) = (assembler(state.clone()), Vec::new(), state);
    let mut sent = 0;
    let mut flush = |assembler: &mut Assembler, kept: &mut State| {
        let (gathered, state) = assembler.flush(&"in".into()).unwrap();
        let of = |(headers, body): Seen| format!("{}.{} {body}", headers["lsn"], headers["change"]);
        stored.extend(events(&gathered.batch).into_iter().map(of));
        *kept = state;
    };
    for (commit, end, changes) in LOG {
        // Like the server, skip transactions committed before the requested position.
        if commit < kept.done.0 {
            continue;
        }
        assembler.begin(Lsn(commit), 0, Some(Xid::Number(1)));
        for _ in 0..changes {
            if sent == until {
                return (stored, kept);
            }
            assembler.change(1, Change::Insert(vec![text("1"), Cell::Null, Cell::Null])).unwrap();
            sent += 1;
            if !assembler.gather.is_empty() && flushes(sent) {
                flush(&mut assembler, &mut kept);
            }
        }
        assembler.commit(Lsn(end));
        if !assembler.gather.is_empty() && flushes(sent + 1) {
            flush(&mut assembler, &mut kept);
        }
    }
    if assembler.has_news() {
        flush(&mut assembler, &mut kept);
    }
    (stored, kept)
}

#[test]
fn a_cut_anywhere_repeats_no_change_and_loses_none() {
    let begin = || State { phase: Phase::Changes, done: Lsn(5), ..State::default() };
    let (whole, state) = send(begin(), |_| false, usize::MAX);
    assert_eq!((whole.len(), state.done), (11, Lsn(70)));
    for every in 1..5 {
        for cut in 0..12 {
            let flushes = |at: usize| at.is_multiple_of(every);
            let (mut stored, state) = send(begin(), flushes, cut);
            // A second cut, soon after the first one.
            let (more, state) = send(state, |_| true, 2);
            stored.extend(more);
            let (more, state) = send(state, flushes, usize::MAX);
            stored.extend(more);
            assert_eq!(stored, whole, "a flush every {every}, cut at {cut}");
            assert_eq!(state.done, Lsn(70));
        }
    }
}

#[test]
fn only_messages_between_transactions_advance_the_position() {
    let mut assembler = assembler(State { done: Lsn(5), ..State::default() });
    assembler.begin(Lsn(40), 0, Some(Xid::Number(1)));
    assembler.alive(Lsn(39));
    assert!(!assembler.has_news());
    assembler.commit(Lsn(45));
    assembler.alive(Lsn(50));
    assembler.alive(Lsn(44));
    assert!(assembler.has_news());
    let (gathered, state) = assembler.flush(&"in".into()).unwrap();
    assert_eq!((gathered.events, state.done, state.number), (0, Lsn(50), 1));
    assert!(!assembler.has_news());
}

#[test]
fn reports_changed_columns_and_rejects_rows_that_do_not_match() {
    let mut assembler = assembler(State::default());
    assert_eq!(assembler.relation(1, table(columns())), None, "the same comes again");
    let mut more = columns();
    more.pop();
    more.push(column("at", false, &Type::TIMESTAMPTZ));
    let changes = assembler.relation(1, table(more)).unwrap();
    assert_eq!(changes, "shop.t1: new columns [`at`], removed columns [`long`]");
    assert!(assembler.change(1, Change::Truncate).unwrap_err().contains("outside"));
    assembler.begin(Lsn(1), 0, Some(Xid::Number(1)));
    assert!(assembler.change(2, Change::Truncate).unwrap_err().contains("(number 2)"));
    let short = assembler.change(1, Change::Insert(vec![Cell::Null])).unwrap_err();
    assert!(short.starts_with("a row of shop.t1 has 1 values, but the table has 3 columns"));
}
