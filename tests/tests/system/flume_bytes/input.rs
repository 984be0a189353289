//! Lines and syslog messages that both agents get.

use std::process::Command;

use super::END;

/// Lines around a limit, with one, two, three and four bytes per character, and the end.
pub(super) fn long_lines(chars: usize, end: &[u8]) -> Vec<u8> {
    let mut text = String::from("first\n\n\ncr\r\n\r\n");
    for character in ["x", "ä", "日"] {
        for length in [chars - 1, chars, chars + 1, 2 * chars, 2 * chars + 1, 5 * chars] {
            text += &character.repeat(length);
            text += "\n";
        }
    }
    text += &format!("{}\n{}\r\n", "😀".repeat(3), "x".repeat(chars - 1));
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(end);
    bytes
}

/// Syslog messages; with those that Flume's `multiport_syslogtcp` understands differently.
pub(super) fn messages(all: bool) -> Vec<String> {
    let date = |days: i64| {
        let mut date = Command::new("date");
        date.env("LC_ALL", "C").args(["-u", "-d", &format!("{days} days"), "+%b %e %H:%M:%S"]);
        let output = date.output().expect("the program date");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let today = date(0);
    let mut messages = vec![
        format!("<34>{today} web-1 su: failed\n"),
        "<165>1 2026-10-11T22:14:15.003Z web-2 app 7 ID - text ä\n".to_owned(),
        "<13>2026-10-11T22:14:15+02:00 web-3 x\n".to_owned(),
        format!("<13>{today} web-1 {}\n", "y".repeat(3_000)),
        format!("<13>{today} web-1 after\n"),
    ];
    if all {
        messages.extend([
            "\n\n".to_owned(),
            format!("<13>{} web-1 soon\n", date(20)),
            format!("<13>{} web-1 far\n", date(200)),
            format!("<13>{} web-1 past\n", date(-200)),
            "<13>su: no time\n".to_owned(),
            "no syslog\n".to_owned(),
            "<1234>no priority\n".to_owned(),
            "<13>1 - - nothing known\n".to_owned(),
            format!("<13>{today} web-1 cr\r\n"),
            format!("<13>{today} web-1 {}\n", "z".repeat(2_500 - 10 - today.len())),
            format!("<13>{today} web-1 {}\n", "z".repeat(9_000)),
        ]);
    }
    messages.push(format!("<13>{today} web-1 {END}\n"));
    messages
}

/// Returns what clients send to a flow with another charset, a text for each connection: lines of
/// several scripts, CR before LF, a line over the limit, and the end.
pub(super) fn texts(flow: &str) -> Vec<Vec<u8>> {
    let lines = match flow {
        "net-gbk" => "short\n\ncr\r\n你好\n",
        _ => "short\n\ncr\r\nä 日本 😀\n",
    };
    let over = format!("ok\n{}\nnever\n", "x".repeat(600));
    let encode = |text: &str| -> Vec<u8> {
        let bytes =
            |to: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(to).collect() };
        match flow {
            "net-le" => bytes(u16::to_le_bytes),
            // A byte order mark tells that it is little endian.
            "net-16" if text.starts_with("short") => {
                [&[0xff, 0xfe], &*bytes(u16::to_le_bytes)].concat()
            }
            "net-16" => bytes(u16::to_be_bytes),
            _ => {
                let gbk = |c: char| match c {
                    '你' => vec![0xc4, 0xe3],
                    '好' => vec![0xba, 0xc3],
                    c => vec![c as u8],
                };
                text.chars().flat_map(gbk).collect()
            }
        }
    };
    let end = format!("{END}\n");
    [lines, &over, &end].map(encode).to_vec()
}
