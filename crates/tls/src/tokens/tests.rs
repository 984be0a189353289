#![allow(clippy::disallowed_methods, reason = "the test stands outside, as an operator does")]

use std::fs;
use std::time::Duration;

use super::*;

const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
const OTHER: &str = "another-token-of-the-same-agent";

/// The line with the hash of this token.
fn hashed(name: &str, token: &str) -> String {
    Token { name: name.into(), secret: Secret::from(token.to_owned()) }.hashed_line()
}

/// Parses the lines of a listener.
fn table(text: &str) -> Result<Table, SecretFileError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    fs::write(&path, text).unwrap();
    let file = SecretFile::new("tokens_file", &path);
    Table::read(&file, &*env::real().disk)
}

fn client(text: &str) -> Result<Token, SecretFileError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, text).unwrap();
    TokenFile::new(&path).read(&*env::real().disk)
}

#[test]
fn each_token_proves_its_name_and_nothing_else_does() {
    let hashed = hashed("web-2", OTHER);
    let table = table(&format!("# edges\n\n Web-1\t{TOKEN} \r\n{hashed}")).unwrap();
    assert_eq!(table.name(TOKEN.as_bytes()).map(|it| &**it), Some("web-1"));
    assert_eq!(table.name(OTHER.as_bytes()).map(|it| &**it), Some("web-2"));
    let hash = hashed.trim_end().split_once(' ').unwrap().1;
    for wrong in ["", &TOKEN[1..], &format!("{TOKEN}x"), &TOKEN.to_uppercase(), hash, "web-1"] {
        assert_eq!(table.name(wrong.as_bytes()), None, "{wrong}");
    }
    assert!(Table(Vec::new()).name(TOKEN.as_bytes()).is_none());
}

#[test]
fn the_hash_is_that_of_sha256sum() {
    let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hashed("a", "abc"), format!("a sha256:{known}\n"));
}

#[test]
fn errors_of_a_line_do_not_contain_the_token() {
    let long = "x".repeat(1025);
    let hex = "sha256:12";
    for (text, word) in [
        (TOKEN.to_owned(), "line 1: must be a name and a token"),
        (format!("\n#\nweb-1 {TOKEN} {OTHER}"), "line 3: must be a name and a token"),
        ("web-1 0123456789abcde".to_owned(), "line 1: a token must have 16 to 1024"),
        (format!("web-1 {long}"), "16 to 1024"),
        ("web-1 0123456789abcdefg\u{e9}".to_owned(), "1024 ASCII characters"),
        (format!("web-1 {hex}"), "64 hexadecimal digits"),
        (format!("web-1 sha256:{}", "g".repeat(64)), "64 hexadecimal digits"),
        (format!("web-\u{1}1 {TOKEN}"), "without spaces"),
        (format!("web-1 {TOKEN}\nweb-2 {TOKEN}"), "`web-1` and `web-2` have the same token"),
    ] {
        let said = table(&text).err().unwrap().to_string();
        assert!(said.contains(word) && said.contains("(`tokens_file`)"), "{said}");
        let secrets = [TOKEN, OTHER, "0123456789", &long];
        assert!(!secrets.iter().any(|it| said.contains(it)), "{said}");
    }
    assert!(table(&format!("web-1 {TOKEN}\nweb-1 {OTHER}\nweb-1 {TOKEN}")).is_ok());
    assert!(table("").is_ok(), "the last one may be taken out");
}

#[test]
fn the_file_of_a_client_is_one_line_and_shown_nowhere() {
    let token = client(&format!("Web-1 {TOKEN}\n")).unwrap();
    assert_eq!((&*token.name, token.secret.expose()), ("web-1", TOKEN));
    assert!(!format!("{token:?}").contains(TOKEN));
    let hashed = token.hashed_line();
    for (text, word) in [
        (String::new(), "one line"),
        (format!("a {TOKEN}\nb {OTHER}"), "one line"),
        (TOKEN.to_owned(), "a name and a token"),
        (hashed, "this is its hash"),
        ("web-1 short".to_owned(), "16 to 1024"),
    ] {
        let said = client(&text).err().unwrap().to_string();
        assert!(said.contains(word) && said.contains("(`token_file`)"), "{said}");
        assert!(!said.contains(TOKEN), "{said}");
    }
    let none = TokenFile::new(Path::new("/none/at/all")).read(&*env::real().disk);
    assert!(none.unwrap_err().to_string().contains("`token_file`"));
}

#[test]
fn a_new_token_is_one_that_both_ends_read_and_no_other() {
    let entropy = env::real().entropy;
    let [one, two] = [0, 1].map(|_| Token::new("Web-1", &*entropy).unwrap());
    assert_eq!(one.secret.expose().len(), 43, "32 bytes");
    assert_ne!(one.secret.expose(), two.secret.expose());
    assert_eq!(client(one.line().expose()).unwrap().secret.expose(), one.secret.expose());
    for lines in [one.line().expose().to_owned(), one.hashed_line()] {
        let table = table(&lines).unwrap();
        assert_eq!(table.name(one.secret.expose().as_bytes()).map(|it| &**it), Some("web-1"));
        assert!(table.name(two.secret.expose().as_bytes()).is_none());
    }
    for name in ["", "a b", "#a", "a\n"] {
        assert!(Token::new(name, &*entropy).is_err(), "{name:?}");
    }
}

#[test]
fn a_header_has_its_scheme_in_any_case() {
    assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
    assert_eq!(bearer(b"bEARER abc"), Some(&b"abc"[..]));
    for other in [&b"Bearer"[..], b"Basic abc", b"abc", b""] {
        assert_eq!(bearer(other), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_counts_and_one_that_cannot_be_used_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let env = env::real();
    let tokens = Tokens::new(&path, &env);
    assert!(tokens.load().await.unwrap_err().to_string().contains("`tokens_file`"));
    let name = async |token: &str| tokens.name(token.as_bytes()).await.unwrap();
    for (text, first, second) in [
        (format!("a {TOKEN}\n"), Some("a"), None),
        (format!("a {TOKEN}\nb {OTHER}\n"), Some("a"), Some("b")),
        ("a\n".to_owned(), Some("a"), Some("b")),
        (format!("b {OTHER}\n"), None, Some("b")),
        (String::new(), None, None),
    ] {
        fs::write(folder.path().join("new"), &text).unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        tokio::time::advance(Duration::from_millis(1_100)).await;
        assert_eq!((name(TOKEN).await.as_deref(), name(OTHER).await.as_deref()), (first, second));
    }
}
