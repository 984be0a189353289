//! Recorded events of MariaDB 10.11 and MySQL 9.7, and their decoded form.

use std::path::Path;

use mysql_async::binlog::BinlogVersion;
use mysql_async::binlog::events::{Event, FormatDescriptionEvent};
use pipeline::BuildContext;
use serde_json::json;

use super::super::assemble::{ChangePosition, Gather};
use super::super::change::Lsn;
use super::super::config::Config;
use super::super::position;
use super::log::{Changes, Held, Log, Step};
use super::proof::Head;
use super::row::changes;
use super::table::Charsets;
use super::*;

mod geometry;

/// The start of a file; the table `rec.kinds`; a row of it with values of each type.
const FORMAT: &str = "\
     5f7d096b0f01000000fc000000000100000100040031302e31312e31392d4d6172696144422d302b64656231\
     3275312d6c6f6700000000000000000000000000000000000000000000000013380d00080012000404040412\
     0000e400041a08000000080808020000000a0a0a0000000000000a0a0a000000000000000000000000000000\
     0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
     0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
     00000000000000000000000000000000041304000d0808080a0a0a0168cf1f0a";
const MAP: &str = "\
     5f7d096b1301000000fd000000cb040000000018000000000001000372656300056b696e6473002103010808\
     0909f6f6f60405fe0ffefefe0ffcfc0a0a1313111112120d0d10ff03031f1e0a050204040408fe0c2c01f701\
     f801fe0414000204020603000600020104feffffff010102281802073f002d0108052e070101045d02696401\
     6202753802693802753302693301640165017a017201660163016c016d01730262690276620179016a026461\
     027a64027469027436027473027430026474027a740279720279300262740167057477696365067468726963\
     650b02082d050703016101620163060a0204676f6f640362e4640801000a07c410";
const ROW: &str = "\
     5f7d096b1701000000e0000000ab0500000000180000000000010021ffffffff0100000000fe0100000001ff\
     ffffffffffffff0000000000000080ffffff0000807ffffffffffffffffefa0a1effff8000328001cdcccc3d\
     9c7500883ce437fe017807004772fcdf65208002050261620300ff00020000ff100000007b226b223a205b31\
     2c206e756c6c5d7d9f1f4e00000079b105ce7fffffffffff697deec01388697deec09963ff7efb0000018000\
     0000006300020119000000000000000101000000000000000000f03f0000000000000040000000ff000080fe\
     561eb5a4";
/// Same for MySQL, with the GTID before it.
const MYSQL_FORMAT: &str = "\
     d9550b6b0f010000007b0000007f00000001000400392e372e342d3200000000000000000000000000000000\
     0000000000000000000000000000000000000000000000000000000000000013000d00080000000004000400\
     00006300041a08000000000000020000000a0a0a2a2a001234000a280000019a5ca33c";
const MYSQL_GTID: &str = "\
     d9550b6b21010000004f000000150100000000000b5cbd95eb7911f1ab6402fc000000011200000000000000\
     02000000000000000001000000000000001ad1bbb65d6106fca10350620100aa2409e1";
const MYSQL_MAP: &str = "\
     d9550b6b1301000000060100006d020000000075000000000001000372656300056b696e6473002103010808\
     0909f6f6f60405fe0ffefefe0ffcf50a0a1313111112120d0d10ff03031f1e0a050204040408fe0c2c01f701\
     f801fe0414000204020603000600020104feffffff010102281802073f00fcff000108070101045d02696401\
     6202753802693802753302693301640165017a017201660163016c016d01730262690276620179016a026461\
     027a64027469027436027473027430026474027a740279720279300262740167057477696365067468726963\
     650b0408fcff00050703016101620163060a0204676f6f640362e4640801000c05ffffffff808f438cde";
const MYSQL_ROW: &str = "\
     d9550b6b1e01000000db0100004804000000007500000000001100020021ffffffffff000000000001000000\
     01ffffffffffffffff0000000000000080ffffff0000807ffffffffffffffffefa0a1effff8000328001cdcc\
     cc3d9c7500883ce437fe017807004772fcdf65208002050261620300ff00020000ff09010000000900080143\
     0001004400010045000100460001004700010048000100490002004b0002004d0004000f51000f55000a5b00\
     0c63000f69000273000fae000fb80002c20062646e737478646164746c6f6e670f0200fff6040302810affff\
     ffffffffffff05c3bc225c6e0b08e05ef805b1f9ffff09003b00040100040000001f0002230005f9ff072700\
     072b00072f0009330000000400000004007011010090eefeff409c0000000efad5feffffff0a080000000000\
     7e06000c0890d00300c0feb819060046000b16000b1e000b26000b2e000b36000b3e000000901ec4bcd64200\
     003426f56b0c43f168e388b5f8e43e4d67e2f1059ea53c00000000000000809c7500883ce4377e9f1f4e0000\
     0079b105ce7fffffffffff697deec01388697deec09963ff7efb000001800000000063000201190000000000\
     00000101000000000000000000f03f0000000000000040000000ff000080fe678b9e4d";
/// Its JSON in the body.
const MYSQL_JSON: &str = concat!(
    r#""j":{"b":"base64:type15:AP8=","d":1.10,"n":18446744073709551615,"s":"ü\"\\n","#,
    r#""t":"-100:59:58.500000","x":[true,null,{},[],-7,70000,-70000,40000,-5000000000],"#,
    r#""da":"0001-12-31","dt":"2026-01-31 12:00:00.250000","#,
    r#""long":[100000000000000.0,1e15,0.00001,1.5e-16,-0.0,1e300]},"#
);
const BODY: &str = concat!(
    r#"{"id":1,"#,
    r#""b":1,"u8":18446744073709551615,"i8":-9223372036854775808,"u3":16777215,"i3":-8388608,"#,
    r#""d":"-1.1000000000","e":"0.50","z":"0.0001","r":0.1,"f":-1e+300,"c":"x","l":"Grüße €","#,
    r#""m":"bäd","s":"a,c","bi":"YWIAAA==","vb":"AP8A","y":"AP8=","j":"{\"k\": [1, null]}","#,
    r#""da":"9999-12-31","zd":"0000-00-00","ti":"-100:59:58.500000","t6":"-00:00:00.000001","#,
    r#""ts":"2026-01-31T12:00:00.500000Z","t0":"2026-01-31T12:00:00Z","#,
    r#""dt":"1999-12-31T23:59:59.000001","zt":"0000-00-00T00:00:00","yr":1999,"y0":0,"bt":513,"#,
    r#""g":"AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAAQA==","twice":-16777216,"thrice":-25165824}"#
);

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// Returns a log that reads `rec.kinds`, and its event format.
fn begun() -> (Log, FormatDescriptionEvent<'static>) {
    begun_by(FORMAT)
}

/// Same for the server that wrote this start of a file.
fn begun_by(beginning: &str) -> (Log, FormatDescriptionEvent<'static>) {
    let charsets =
        [(8, "latin1"), (45, "utf8mb4"), (46, "utf8mb4"), (63, "binary"), (255, "utf8mb4")];
    let charsets = charsets.map(|(id, name)| (id, name.to_owned()));
    let wanted = vec![("rec".to_owned(), "kinds".to_owned())];
    let flavour = match beginning {
        FORMAT => Flavour::MariaDb,
        _ => Flavour::Mysql { end_of_log: "" },
    };
    let mut log = Log::new(("bin".to_owned(), 12), wanted, Charsets::new(flavour, charsets));
    let form = FormatDescriptionEvent::new(BinlogVersion::Version4);
    let event = Event::read(&form, &*bytes(beginning)).unwrap();
    let read: FormatDescriptionEvent<'_> = event.read_event().unwrap();
    let form = read.into_owned().with_footer(event.footer());
    // Before the format event, the checksum is still part of the name.
    let rotate = [&4_u64.to_le_bytes()[..], b"bin.000012\0\xff"].concat();
    assert!(matches!(take(&mut log, &form, 4, 0, &rotate), Ok(Step::Nothing)));
    assert!(matches!(log.take(event), Ok(Step::Nothing)));
    let rotate = [&4_u64.to_le_bytes()[..], b"bin.000012"].concat();
    assert!(matches!(take(&mut log, &form, 4, 0, &rotate), Ok(Step::Nothing)));
    (log, form)
}

/// Sends an event of this kind, which ends at this position.
fn take(
    log: &mut Log,
    form: &FormatDescriptionEvent<'static>,
    kind: u8,
    end: u32,
    data: &[u8],
) -> Result<Step, String> {
    let mut event = 1_000_000_u32.to_le_bytes().to_vec();
    event.push(kind);
    event.extend(7_u32.to_le_bytes());
    event.extend((19 + data.len() as u32 + 4).to_le_bytes());
    event.extend(end.to_le_bytes());
    event.extend([0, 0]);
    event.extend(data);
    event.extend([0; 4]);
    log.take(Event::read(form, &*event).unwrap())
}

fn gtid(number: u64, flags: u8) -> Vec<u8> {
    [&number.to_le_bytes()[..], &3_u32.to_le_bytes(), &[flags]].concat()
}

fn query(text: &str) -> Vec<u8> {
    [&[0; 8][..], &[3, 0, 0, 0, 0], b"rec\0", text.as_bytes()].concat()
}

/// Returns the content of a recorded event, without header and checksum.
fn data(hex: &str) -> Vec<u8> {
    let event = bytes(hex);
    event[19..event.len() - 4].to_vec()
}

fn whole(step: Step) -> Changes {
    let Step::Changes(changes) = step else { panic!("{step:?}") };
    changes
}

#[test]
fn a_logged_row_equals_the_selected_row() {
    let (mut log, form) = begun();
    let mut send = |kind, end, data: &[u8]| take(&mut log, &form, kind, end, data).unwrap();
    send(162, 100, &gtid(5, 4));
    send(19, 200, &data(MAP));
    send(23, 300, &data(ROW));
    let came = whole(send(16, 331, &[0; 8]));
    assert_eq!((came.lsn, came.end), (Lsn(12 << 32 | 100), Some(Lsn(12 << 32 | 331))));
    assert_eq!((came.xid.unwrap().to_string(), came.millis), ("3-7-5".to_owned(), 1_000_000_000));
    hold(&came, BODY, "3-7-5");
    let (mut log, form) = begun_by(MYSQL_FORMAT);
    let mut send = |kind, end, data: &[u8]| take(&mut log, &form, kind, end, data).unwrap();
    send(33, 100, &data(MYSQL_GTID));
    send(2, 150, &query("BEGIN"));
    send(19, 200, &data(MYSQL_MAP));
    send(30, 300, &data(MYSQL_ROW));
    let came = whole(send(16, 331, &[0; 8]));
    assert_eq!((came.lsn, came.end), (Lsn(12 << 32 | 100), Some(Lsn(12 << 32 | 331))));
    // Time of the commit, not of the event's header.
    assert_eq!(came.millis, 1_795_904_985_878);
    let (before, rest) = BODY.split_once(r#""j":"#).unwrap();
    let (_, behind) = rest.split_once(r#"","da""#).unwrap();
    let body = format!(r#"{before}{MYSQL_JSON}"da"{behind}"#);
    hold(&came, &body, "0b5cbd95-eb79-11f1-ab64-02fc00000001:18");
}

/// Compares the only row of a transaction with the expected body.
fn hold(came: &Changes, body: &str, xid: &str) {
    let [Held::Rows(mapped, event)] = &came.held[..] else { panic!("{came:?}") };
    let mut gather = Gather::default();
    let at = ChangePosition { lsn: came.lsn, change: 0, xid: came.xid, millis: 1 };
    for change in changes(mapped, event).unwrap() {
        gather.push(&mapped.table(), change, at).unwrap();
    }
    let gathered = gather.finish(&"in".into(), &State::default()).unwrap();
    let events: Vec<_> = gathered.batch.iter().collect();
    let [event] = &events[..] else { panic!("one row") };
    assert_eq!(String::from_utf8_lossy(event.body()), body);
    let headers: Vec<_> = event.headers().collect();
    for header in [("key", "1"), ("xid", xid), ("lsn", "C/64"), ("operation", "insert")] {
        assert!(headers.contains(&header), "{header:?}: {headers:?}");
    }
}

#[test]
fn a_mysql_transaction_ends_with_its_first_statement_without_begin() {
    let (mut log, form) = begun_by(MYSQL_FORMAT);
    let mut send = |kind, end, data: &[u8]| take(&mut log, &form, kind, end, data).unwrap();
    let gtid = data(MYSQL_GTID);
    // The next file: 35 contains the earlier GTIDs; the first event contains the start time.
    send(15, 127, &data(MYSQL_FORMAT));
    let began = send(35, 198, &[0; 8]);
    let at = Lsn(12 << 32 | 198);
    assert!(matches!(began, Step::Alive(end, Head::Began(1_000_000)) if end == at), "{began:?}");
    send(33, 210, &gtid);
    let truncated = whole(send(2, 220, &query("TRUNCATE TABLE kinds")));
    assert!(matches!(truncated.held[..], [Held::Truncate(0)]));
    // A GTID without a name, and one with a tag, whose format is not parsed.
    for (kind, at) in [(34, 300), (42, 350)] {
        send(kind, at, &gtid);
        send(2, at + 10, &query("BEGIN"));
        send(19, at + 20, &data(MYSQL_MAP));
        send(30, at + 30, &data(MYSQL_ROW));
        let came = whole(send(16, at + 40, &[0; 8]));
        assert_eq!((came.xid, came.held.len()), (None, 1));
    }
    // Events in a compressed transaction have other positions, or none.
    send(33, 400, &gtid);
    send(40, 500, &[]);
    send(2, 0, &query("BEGIN"));
    send(19, 80, &data(MYSQL_MAP));
    send(30, 90, &data(MYSQL_ROW));
    let came = whole(send(16, 99, &[0; 8]));
    assert_eq!((came.held.len(), came.end), (1, Some(Lsn(12 << 32 | 500))));
    send(33, 510, &gtid);
    assert_eq!(whole(send(2, 520, &query("ALTER TABLE kinds ADD x int"))).held.len(), 0);
}

#[test]
fn a_document_that_is_cut_anywhere_is_refused() {
    let row = data(MYSQL_ROW);
    let begin = row.windows(4).position(|it| it == [9, 1, 0, 0]).unwrap();
    let document = &row[begin + 4..begin + 4 + 265];
    assert!(json::text(document).unwrap().starts_with(r#"{"b":"base64"#));
    for end in 1..document.len() {
        assert!(json::text(&document[..end]).is_err(), "{end}");
    }
    assert_eq!(json::text(&[]).unwrap(), "null");
}

#[test]
fn only_committed_transactions_count() {
    let (mut log, form) = begun();
    let mut send = |kind, end, data: &[u8]| take(&mut log, &form, kind, end, data).unwrap();
    send(162, 100, &gtid(5, 4));
    send(19, 200, &data(MAP));
    send(23, 300, &data(ROW));
    // The server died here, and continues in another file.
    let rotate = [&4_u64.to_le_bytes()[..], b"bin.000013"].concat();
    assert!(matches!(send(4, 0, &rotate), Step::Nothing));
    let list = [&[1, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0][..], &5_u64.to_le_bytes()].concat();
    let Step::Alive(at, Head::Gtids(gtids)) = send(163, 99, &list) else { panic!("a new file") };
    assert_eq!((at, gtids[0].to_string(), gtids.len()), (Lsn(13 << 32 | 99), "3-7-5".into(), 1));
    assert!(matches!(send(16, 331, &[0; 8]), Step::Nothing));
    send(162, 400, &gtid(6, 4));
    send(2, 410, &query("SAVEPOINT `a`"));
    send(19, 420, &data(MAP));
    send(23, 430, &data(ROW));
    send(2, 440, &query("ROLLBACK TO `a`"));
    send(23, 450, &data(ROW));
    assert_eq!(whole(send(2, 460, &query("COMMIT"))).held.len(), 1);
    send(162, 461, &gtid(6, 4));
    send(23, 462, &data(ROW));
    assert_eq!(whole(send(2, 463, &query("ROLLBACK"))).held.len(), 0);
    send(162, 470, &gtid(7, 1));
    let truncated = whole(send(2, 480, &query("TRUNCATE TABLE kinds")));
    assert!(matches!(truncated.held[..], [Held::Truncate(0)]));
    send(162, 490, &gtid(8, 1));
    let other = whole(send(2, 500, &query("TRUNCATE TABLE shop.kinds")));
    assert_eq!((other.held.len(), other.end), (0, Some(Lsn(13 << 32 | 500))));
}

#[test]
fn reports_unsupported_log_events_with_the_remedy() {
    for (events, expected) in [
        (vec![(162, gtid(1, 4)), (2, query("UPDATE kinds SET b = 1"))], "`binlog_format`"),
        (vec![(162, gtid(1, 64)), (19, data(MAP)), (23, data(ROW)), (38, vec![])], "without XA"),
        (vec![(162, gtid(1, 4)), (2, query("ROLLBACK TO a"))], "partly rolled back"),
        (vec![(166, vec![])], "log_bin_compress = OFF"),
        (vec![(26, vec![0; 2])], "lacks changes"),
    ] {
        let (mut log, form) = begun();
        let mut said = Ok(Step::Nothing);
        for (at, (kind, data)) in events.iter().enumerate() {
            said = take(&mut log, &form, *kind, 100 + at as u32, data);
        }
        let said = said.unwrap_err();
        assert!(said.contains(expected) && said.contains("start again"), "{said}");
    }
    for (events, expected) in [
        (vec![(33, data(MYSQL_GTID)), (40, vec![]), (33, data(MYSQL_GTID))], "cannot decompress"),
        (
            vec![
                (33, data(MYSQL_GTID)),
                (2, query("XA START 'a'")),
                (19, data(MYSQL_MAP)),
                (30, data(MYSQL_ROW)),
                (2, query("XA END 'a'")),
                (38, vec![]),
            ],
            "without XA",
        ),
        (
            vec![
                (33, data(MYSQL_GTID)),
                (2, query("BEGIN")),
                (19, data(MYSQL_MAP)),
                (39, data(MYSQL_ROW)),
            ],
            "`binlog_row_value_options`",
        ),
    ] {
        let (mut log, form) = begun_by(MYSQL_FORMAT);
        let mut said = Ok(Step::Nothing);
        for (at, (kind, data)) in events.iter().enumerate() {
            said = take(&mut log, &form, *kind, 100 + at as u32, data);
        }
        let said = said.unwrap_err();
        assert!(said.contains(expected) && said.contains("start again"), "{said}");
    }
    // Changes of other tables may have any form.
    let (mut log, form) = begun();
    take(&mut log, &form, 162, 100, &gtid(1, 4)).unwrap();
    take(&mut log, &form, 2, 200, &query("UPDATE other SET b = 1")).unwrap();
    // Positions wrap at 4 GiB.
    let wrapped = take(&mut log, &form, 16, 50, &[0; 8]).unwrap_err();
    assert!(wrapped.contains("4 GiB"), "{wrapped}");
}

#[test]
fn the_log_at_the_position_decides_how_to_continue() {
    let options = |changes: serde_json::Value| {
        let mut settings = json!({
            "database": { "url": "mysql://db/shop", "user": "a" }, "tables": ["t"],
        });
        settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let config: Config = serde_json::from_value(settings).unwrap();
        config.options(&BuildContext::alone("in", Path::new("unused"), env::real())).unwrap()
    };
    let at = |phase| {
        let log = position::Log { base: "bin".to_owned(), proof: "0-1-7,3-7-5".to_owned() };
        Some(State { phase, done: Lsn(12 << 32 | 9), log: Some(log), ..State::default() })
    };
    let make = |is_void, is_lost| Next::Make { is_void, is_lost };
    let usual = options(json!({}));
    let again = options(json!({ "on_lost": "snapshot" }));
    for (options, state, there, expected) in [
        (&usual, None, None, make(false, false)),
        (&usual, at(Phase::Snapshot { has_rows: true }), None, make(true, false)),
        (
            &usual,
            at(Phase::Changes),
            Some("3-7-5,0-1-7"),
            Next::Changes(at(Phase::Changes).unwrap()),
        ),
        (&again, at(Phase::Changes), Some("0-1-7,3-7-6"), make(true, true)),
        (&again, at(Phase::Changes), None, make(true, true)),
    ] {
        assert_eq!(
            next(options, state.clone(), there.map(Proof::read), Flavour::MariaDb).unwrap(),
            expected,
            "{state:?}"
        );
    }
    for (there, expected) in [
        (None, "no file `bin.000012`"),
        (Some("0-2-7,3-7-5"), "it is another log; set `on_lost"),
        (Some(""), "has `` at this position instead of `0-1-7,3-7-5`"),
    ] {
        let said = next(&usual, at(Phase::Changes), there.map(Proof::read), Flavour::MariaDb)
            .unwrap_err()
            .to_string();
        assert!(said.contains(expected), "{said}");
    }
}
