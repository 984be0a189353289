//! Statements in the log: ends of transactions, truncations, and statements that change no captured
//! rows.

/// The effect of a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StatementKind {
    /// Starts a transaction that ends with another event.
    Begin,
    Commit,
    Rollback,
    Savepoint(String),
    RollbackTo(String),
    /// The database, if given, and the table.
    Truncate(Option<String>, String),
    /// Changes rows by a statement instead of row events; contains these names.
    Write(Vec<String>),
    Other,
}

/// A token of a statement: a word, a quoted name, or a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    Sign(char),
}

impl StatementKind {
    pub(super) fn read(text: &str) -> Self {
        let tokens = tokens(text);
        let word = |at: usize| match tokens.get(at) {
            Some(Token::Name(name)) => name.to_ascii_lowercase(),
            _ => String::new(),
        };
        let name = |at: usize| match tokens.get(at) {
            Some(Token::Name(name)) => Some(name.clone()),
            _ => None,
        };
        match &*word(0) {
            "begin" => Self::Begin,
            "xa" if matches!(&*word(1), "start" | "begin") => Self::Begin,
            "commit" => Self::Commit,
            "savepoint" => name(1).map_or(Self::Other, Self::Savepoint),
            "rollback" if word(1) == "to" => {
                let at = if word(2) == "savepoint" && name(3).is_some() { 3 } else { 2 };
                name(at).map_or(Self::Other, Self::RollbackTo)
            }
            "rollback" => Self::Rollback,
            "truncate" => {
                let at = if word(1) == "table" && name(2).is_some() { 2 } else { 1 };
                match (name(at), tokens.get(at + 1), name(at + 2)) {
                    (Some(schema), Some(Token::Sign('.')), Some(table)) => {
                        Self::Truncate(Some(schema), table)
                    }
                    (Some(table), ..) => Self::Truncate(None, table),
                    (None, ..) => Self::Other,
                }
            }
            "insert" | "update" | "delete" | "replace" | "load" | "with" => {
                let names = tokens.into_iter().filter_map(|token| match token {
                    Token::Name(name) => Some(name),
                    Token::Sign(_) => None,
                });
                Self::Write(names.collect())
            }
            _ => Self::Other,
        }
    }
}

/// Returns whether this CREATE TABLE has a foreign key that changes its rows.
pub(super) fn cascades(text: &str) -> bool {
    let tokens = tokens(text);
    let is = |at: usize, words: &[&str]| match tokens.get(at) {
        Some(Token::Name(name)) => words.iter().any(|word| name.eq_ignore_ascii_case(word)),
        _ => false,
    };
    let changes = |at| is(at, &["cascade"]) || is(at, &["set"]) && is(at + 1, &["null", "default"]);
    (0..tokens.len())
        .any(|at| is(at, &["on"]) && is(at + 1, &["delete", "update"]) && changes(at + 2))
}

/// Splits a statement into tokens. Skips blanks and comments, but not version-dependent comments.
fn tokens(text: &str) -> Vec<Token> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let after = |end: Option<usize>, length: usize| {
            end.and_then(|end| rest.get(end + length..)).unwrap_or_default()
        };
        let begins = |starts: &[&str]| starts.iter().any(|start| rest.starts_with(start));
        if begins(&["/*!", "/*M!"]) {
            let opened = rest.trim_start_matches(['/', '*', 'M', '!']);
            rest = opened.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if begins(&["*/"]) {
            rest = &rest[2..];
        } else if begins(&["/*"]) {
            rest = after(rest.find("*/"), 2);
        } else if begins(&["#", "-- ", "--\n", "--\t"]) {
            rest = after(rest.find('\n'), 1);
        } else if ['`', '"', '\''].contains(&first) {
            let (name, behind) = quoted(&rest[1..], first);
            tokens.push(Token::Name(name));
            rest = behind;
        } else if is_of_word(first) {
            let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
            tokens.push(Token::Name(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Returns the name after an opening quote, and the text after the closing one.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let (mut name, mut chars) = (String::new(), text.char_indices().peekable());
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote != '`' {
            name.extend(chars.next().map(|(_, c)| c));
        } else if c != quote {
            name.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            name.push(quote);
        } else {
            return (name, &text[at + quote.len_utf8()..]);
        }
    }
    (name, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_key_that_changes_rows_is_seen_in_what_makes_its_table() {
        let key = "CREATE TABLE `c` (`on` int COMMENT 'ON DELETE CASCADE', CONSTRAINT `c_1` \
                   FOREIGN KEY (`on`) REFERENCES `p` (`id`)";
        for (behind, expected) in [
            (") ENGINE=InnoDB", false),
            (" ON DELETE NO ACTION ON UPDATE RESTRICT)", false),
            (" ON DELETE CASCADE)", true),
            (" ON DELETE RESTRICT ON UPDATE SET NULL)", true),
            (" on update set default)", true),
        ] {
            assert_eq!(cascades(&format!("{key}{behind}")), expected, "{behind}");
        }
        let times = "CREATE TABLE t (t timestamp DEFAULT now() ON UPDATE CURRENT_TIMESTAMP)";
        assert!(!cascades(times));
    }

    #[test]
    fn a_statement_is_known_whatever_stands_around_its_words() {
        let truncate = |schema: Option<&str>, table: &str| {
            StatementKind::Truncate(schema.map(str::to_owned), table.to_owned())
        };
        for (text, said) in [
            ("BEGIN", StatementKind::Begin),
            ("XA START X'61',X'',1", StatementKind::Begin),
            ("XA END X'61',X'',1", StatementKind::Other),
            ("COMMIT", StatementKind::Commit),
            ("rollback", StatementKind::Rollback),
            ("SAVEPOINT `a``b`", StatementKind::Savepoint("a`b".into())),
            ("ROLLBACK TO `a`", StatementKind::RollbackTo("a".into())),
            ("ROLLBACK TO SAVEPOINT a", StatementKind::RollbackTo("a".into())),
            ("truncate t", truncate(None, "t")),
            ("/* why */ TRUNCATE # so\n TABLE `shop`.`t` WAIT 5", truncate(Some("shop"), "t")),
            ("-- x\nTRUNCATE TABLE shop . t;", truncate(Some("shop"), "t")),
            ("/*!50000 TRUNCATE */ /*M!100300 TABLE */ \"t\"", truncate(None, "t")),
            ("TRUNCATE TABLE `table`", truncate(None, "table")),
            ("truncate `table`", truncate(None, "table")),
            ("ALTER TABLE t ADD x int", StatementKind::Other),
            ("CREATE TABLE t (x int)", StatementKind::Other),
            ("", StatementKind::Other),
            ("/* never ends", StatementKind::Other),
            ("`never ends", StatementKind::Other),
        ] {
            assert_eq!(StatementKind::read(text), said, "{text}");
        }
        let StatementKind::Write(names) =
            StatementKind::read("INSERT INTO shop.t VALUES ('it\\'s', 1)")
        else {
            panic!("a change by a text");
        };
        assert_eq!(names, ["INSERT", "INTO", "shop", "t", "VALUES", "it's", "1"]);
    }
}
