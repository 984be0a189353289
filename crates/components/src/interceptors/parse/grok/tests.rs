//! Goal: the standard patterns match only what they name, and invalid expressions are rejected with
//! the cause. Method: each pattern, anchored at both ends, with sample texts; fields of whole
//! lines.

use super::*;

fn compiled(expression: &str) -> Result<Grok, String> {
    Grok::new(expression, &BTreeMap::new()).map_err(|error| error.problem)
}

/// Returns `name=value` of each field; numbers without quotes.
fn fields(grok: &Grok, text: &str) -> String {
    let (mut found, mut json) = (Found::default(), Vec::new());
    match grok.parse(text.as_bytes(), &mut found, &mut grok.locations()) {
        Ok(()) => found.write_json("", &[], &mut json),
        Err(reason) => json.extend_from_slice(reason.as_bytes()),
    }
    String::from_utf8(json).unwrap()
}

#[test]
fn every_standard_pattern_compiles() {
    assert!(STANDARD.len() > 80, "{}", STANDARD.len());
    for name in STANDARD.keys() {
        let compiled = compiled(&format!("^%{{{name}:field}}$"));
        assert!(compiled.is_ok(), "{name}: {}", compiled.err().unwrap_or_default());
    }
}

#[test]
fn patterns_match_what_they_name() {
    for (name, good, bad) in [
        ("INT", "-12 +7 0", "1.5 a"),
        ("NUMBER", "1 -1.5 .5 2. 1e-9", "1.2.3 e5"),
        ("POSINT", "1 42", "0 -1 01"),
        ("UUID", "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-42661417400"),
        ("MAC", "00:1b:63:84:45:e6 00-1B-63-84-45-E6 001b.6384.45e6", "00:1b:63:84:45"),
        ("IPV4", "10.0.0.1 255.255.255.255", "256.1.1.1 1.2.3 1.2.3.4.5"),
        (
            "IPV6",
            "::1 :: fe80::1%eth0 2001:db8::ff00:42:8329 1:2:3:4:5:6:7:8 ::ffff:10.0.0.1 1::",
            "1:2:3 12345::1 1:2:3:4:5:6:7:8:9",
        ),
        ("HOSTNAME", "web-1 a.example.com localhost x", "-a a..b"),
        ("HOSTPORT", "web-1:80 10.0.0.1:8080", "web-1 web-1:0"),
        ("UNIXPATH", "/ /var/log/nginx/a.log", "var C:\\a"),
        ("WINPATH", "C:\\a\\b.txt \\\\host\\share", "/a c"),
        ("URI", "http://a.example/x?y=1 ftp://u:p@h:21/ redis://", "http:/a"),
        ("EMAILADDRESS", "a.b+c@example.com", "a@ @b"),
        ("MONTH", "Jan June October", "Jab Janu"),
        ("MONTHDAY", "1 01 31", "32 0"),
        (
            "TIMESTAMP_ISO8601",
            "2026-11-25T10:20:30.123Z 2026-11-25T10:20 2026-11-25T10:20:30+01:00",
            "2026-13-25T10:20 2026-11-25",
        ),
        ("LOGLEVEL", "INFO warning Error FATAL", "INF loud"),
        ("QUOTEDSTRING", "\"a\\\"b\" 'c'", "\"a 'b\""),
        ("JAVACLASS", "a.b.C$D", "a..b"),
    ] {
        let grok = compiled(&format!("^%{{{name}:x}}$")).unwrap();
        for (texts, matches) in [(good, true), (bad, false)] {
            for text in texts.split(' ') {
                assert_eq!(fields(&grok, text).starts_with('{'), matches, "{name} {text}");
            }
        }
    }
}

#[test]
fn whole_lines_are_taken_apart() {
    for (expression, line, expected) in [
        (
            "^%{SYSLOGLINE}$",
            "Oct 11 22:14:15 web-1 sshd[4711]: Accepted key",
            "{\"timestamp\":\"Oct 11 22:14:15\",\"logsource\":\"web-1\",\"program\":\"sshd\",\
             \"pid\":4711,\"message\":\"Accepted key\"}",
        ),
        (
            "^%{NGINX_ERRORLOG}$",
            "2026/11/25 10:20:30 [error] 31#31: *7 open() failed",
            "{\"timestamp\":\"2026/11/25 10:20:30\",\"loglevel\":\"error\",\"pid\":31,\"tid\":31,\
             \"connection\":7,\"message\":\"open() failed\"}",
        ),
        (
            "%{JAVASTACKTRACEPART}",
            "\tat org.x.Main.run(Main.java:12)",
            "{\"class\":\"org.x.Main\",\"method\":\"run\",\"file\":\"Main.java\",\"line\":12}",
        ),
        (
            "%{WORD:[user][name]} (?P<rest>.*)",
            "ann is in",
            "{\"user.name\":\"ann\",\"rest\":\"is in\"}",
        ),
        ("%{NUMBER:a:float} %{WORD:b:int}", "01 x", "{\"a\":\"01\",\"b\":\"x\"}"),
    ] {
        assert_eq!(fields(&compiled(expression).unwrap(), line), expected, "{expression}");
    }
}

#[test]
fn own_patterns_are_used_before_the_standard_ones() {
    let own = [("CODE", "[A-Z]{2}%{INT}"), ("INT", "[0-9]{2}")];
    let own = own.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let grok = Grok::new("%{CODE:code}", &own).unwrap();
    assert_eq!(fields(&grok, "xx AB123"), "{\"code\":\"AB12\"}");
}

#[test]
fn expressions_that_cannot_be_compiled_say_why() {
    for (expression, cause) in [
        ("%{NOPE:x}", "the pattern `NOPE` does not exist"),
        ("%{INT:x", "not closed"),
        ("%{INT:x:date}", "`date` is not a type"),
        ("%{INT}", "must name at least one field"),
        ("(%{INT:x}", "unclosed group"),
    ] {
        let problem = compiled(expression).err().unwrap();
        assert!(problem.contains(cause), "{expression}: {problem}");
    }
    let own = BTreeMap::from([("A".to_owned(), "%{B}".to_owned()), ("B".into(), "%{A}".into())]);
    let problem = Grok::new("%{A:x}", &own).err().unwrap().problem;
    assert!(problem.contains("contain themselves"), "{problem}");
    let own: BTreeMap<String, String> =
        (0..24).map(|n| (format!("P{n}"), format!("%{{P{}}}%{{P{}}}", n + 1, n + 1))).collect();
    assert!(Grok::new("%{P0:x}", &own).is_err(), "growth by powers of two ends");
}
