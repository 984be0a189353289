//! Rows written by a procedure: each call once through a kill, rejected ones in the dead letters;
//! and a procedure that commits is detected before any of it stays.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use aqueduct_tests::wait;

use super::{Database, LIMIT, REASONS, letters};

/// Number of lines, and how many of them contain one rejected line.
const LINES: usize = 6_000;
const BAD_EACH: usize = 100;

/// Statements that create the table and the procedure, and that make it commit.
pub(crate) struct Words {
    pub(crate) make: &'static [&'static str],
    pub(crate) commits: &'static [&'static str],
    /// The database's error in this case.
    pub(crate) refusal: &'static str,
}

pub(crate) const POSTGRES: Words = Words {
    make: &[
        "CREATE TABLE called (id bigint, n int, note text)",
        "CREATE PROCEDURE put_row(id bigint, n int, note text DEFAULT 'none') LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO called VALUES (id, n, note); \
         IF n < 0 THEN RAISE EXCEPTION 'n is negative'; END IF; END $$",
    ],
    commits: &["CREATE OR REPLACE PROCEDURE put_row(id bigint, n int, note text DEFAULT 'none') \
         LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO called VALUES (id, n, note); COMMIT; END $$"],
    refusal: "2D000",
};

pub(crate) const MARIADB: Words = Words {
    make: &[
        "CREATE TABLE called (id bigint, n int, note text)",
        "DELIMITER //\n\
         CREATE PROCEDURE put_row(id bigint, n int, note text) BEGIN \
         INSERT INTO called VALUES (id, n, coalesce(note, 'none')); \
         IF n < 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'n is negative'; END IF; END//",
    ],
    commits: &[
        "DROP PROCEDURE put_row",
        "DELIMITER //\n\
         CREATE PROCEDURE put_row(id bigint, n int, note text) BEGIN \
         INSERT INTO called VALUES (id, n, note); COMMIT; END//",
    ],
    refusal: "1399",
};

const COUNT: &str = "SELECT count(*), count(DISTINCT id), coalesce(sum(n), 0) FROM called";

pub(crate) fn each_row_is_one_call(dir: &Path, database: &dyn Database, words: &Words) {
    words.make.iter().for_each(|sql| drop(database.ask(sql)));
    let (mut text, mut bad, mut sum) = (String::new(), Vec::new(), 0);
    for id in 0..LINES {
        let n = if id % BAD_EACH == 7 { -1 } else { (id % 1000) as i64 };
        let note = if id % 2 == 0 { "null" } else { "\"x\"" };
        let line = format!("{{\"note\":{note},\"n\":{n},\"id\":{id}}}");
        writeln!(text, "{line}").expect("a string takes it");
        if n < 0 { bad.push(line) } else { sum += n }
    }
    // Parameters without a value, and an unknown one.
    let others = [r#"{"note":"x","n":1}"#, r#"{"id":1,"n":1,"note":"x","other":2}"#];
    text += &(others.join("\n") + "\n");
    bad.extend(others.map(str::to_owned));
    bad.sort();
    let lines = dir.join("calls.txt");
    fs::write(&lines, &text).expect("the test's own folder");
    let configuration = format!(
        "[agent]\ndata_dir = \"{0}/called\"\n\
         [sources.lines]\ntype = \"tail_dir\"\npaths = [\"{1}\"]\nbatch_bytes = \"16KiB\"\n\
         channels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"sql\"\nchannel = \"main\"\ntable = \"put_row\"\nmode = \"call\"\n\
         database = {{ {2} }}\nledger = {{ create = true }}\n",
        dir.display(),
        lines.display(),
        database.settings(database.address()),
    );
    let mut collector = super::collector(dir, "calls", &configuration);
    collector.start();
    wait::until("some calls", LIMIT, || (!database.ask(COUNT).starts_with("0|")).then_some(()));
    collector.kill();
    collector.start();
    let good = LINES - LINES / BAD_EACH;
    let expected = format!("{good}|{good}|{sum}");
    wait::until("all calls", LIMIT, || (database.ask(COUNT) == expected).then_some(()));
    let data = dir.join("called");
    let found = || letters(&data, &REASONS);
    wait::until("the dead letters", LIMIT, || (found().len() >= bad.len()).then_some(()));
    let mut found = found();
    found.sort();
    assert_eq!(found, bad);
    words.commits.iter().for_each(|sql| drop(database.ask(sql)));
    let mut file = fs::OpenOptions::new().append(true).open(&lines).expect("it was made");
    std::io::Write::write_all(&mut file, b"{\"id\":-1,\"n\":0,\"note\":\"x\"}\n").expect("a line");
    collector.until_logged(words.refusal, LIMIT);
    collector.until_logged("must not commit, roll back", LIMIT);
    collector.stop(LIMIT);
    assert_eq!(database.ask(COUNT), expected, "nothing of it stays");
}
