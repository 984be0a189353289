//! HOCON, as used in morphline files: JSON with comments, without the outer braces, with `=` or
//! nothing for `:`, line ends for commas, and text with fewer quotes. Each value has its line.
//!
//! Features that combine files (`include`, `+=`, `${…}` in a value, dotted keys) are not evaluated:
//! a reference stays in the text as it is written, and the others are rejected.

/// Maximum depth of values.
const DEPTH_MAX: usize = 64;

/// A value and the line that it begins in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) line: u32,
}

/// A value. Numbers and `true` are texts, as morphlines use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Table(Vec<(String, Node)>),
    List(Vec<Node>),
    Text(String),
}

/// A problem in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: u32,
    pub(crate) text: String,
}

impl Node {
    /// The entry of this name of a table.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(key, _)| key == name).map(|(_, node)| node)
    }

    /// The entries of a table; none of another value.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list, or the value itself.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// Returns the text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Parses a whole text, which is a table.
///
/// # Errors
/// It has an invalid format, or uses an unsupported feature.
pub(crate) fn read(text: &str) -> Result<Node, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { rest: text, line: 1, depth: 0 };
    reader.blanks(true);
    let root = match reader.eat("{") {
        true => reader.table(Some('}'), 1)?,
        false => reader.table(None, 1)?,
    };
    reader.blanks(true);
    match reader.rest.is_empty() {
        true => Ok(root),
        false => Err(reader.problem("unexpected text after the end; remove it")),
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: u32,
    depth: usize,
}

impl Reader<'_> {
    fn problem(&self, text: impl Into<String>) -> Problem {
        Problem { line: self.line, text: text.into() }
    }

    /// Skips `count` bytes.
    fn pass(&mut self, count: usize) {
        let (passed, rest) = self.rest.split_at(count);
        let lines = passed.bytes().filter(|byte| *byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.rest = rest;
    }

    fn eat(&mut self, text: &str) -> bool {
        let is_there = self.rest.starts_with(text);
        if is_there {
            self.pass(text.len());
        }
        is_there
    }

    /// Skips blanks and comments; returns whether there was a line end.
    fn blanks(&mut self, with_lines: bool) -> bool {
        let before = self.line;
        loop {
            let is_blank = |c: char| c.is_whitespace() && (with_lines || c != '\n');
            let end = self.rest.find(|c| !is_blank(c)).unwrap_or(self.rest.len());
            self.pass(end);
            if !self.rest.starts_with('#') && !self.rest.starts_with("//") {
                return self.line > before;
            }
            self.pass(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn deeper(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => {
                Err(self.problem(format!("values are nested more than {DEPTH_MAX} levels deep")))
            }
            false => Ok(()),
        }
    }

    /// Entries up to the end, or to a brace.
    fn table(&mut self, end: Option<char>, line: u32) -> Result<Node, Problem> {
        self.deeper()?;
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            self.blanks(true);
            if self.eat(",") {
                continue;
            }
            if self.rest.is_empty() || self.rest.starts_with('}') {
                break;
            }
            let key = self.key()?;
            self.blanks(true);
            if self.eat("+=") {
                return Err(self.problem("`+=` is not supported; write the whole list"));
            }
            if !self.eat(":") && !self.eat("=") && !self.rest.starts_with('{') {
                return Err(self.problem(format!("`:` or `=` is missing after `{key}`")));
            }
            self.blanks(true);
            let node = self.value(&[',', '}'])?;
            entries.retain(|(known, _)| *known != key);
            entries.push((key, node));
        }
        match end {
            Some('}') if !self.eat("}") => Err(self.problem("a `{` has no `}`")),
            _ => {
                self.depth -= 1;
                Ok(Node { value: Value::Table(entries), line })
            }
        }
    }

    fn key(&mut self) -> Result<String, Problem> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let ends = |c: char| c.is_whitespace() || ":={}[],\"#+".contains(c);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let key = self.rest[..end].to_owned();
        self.pass(end);
        match key.as_str() {
            "" => Err(self.problem("a name is missing here")),
            "include" => {
                Err(self.problem("`include` is not supported; write everything into one file"))
            }
            name if name.contains('.') => {
                Err(self.problem(format!("write the name in quotes: `\"{name}\"`")))
            }
            _ => Ok(key),
        }
    }

    fn value(&mut self, ends: &[char]) -> Result<Node, Problem> {
        let line = self.line;
        if self.eat("{") {
            return self.table(Some('}'), line);
        }
        if self.eat("[") {
            return self.list(line);
        }
        let mut text = String::new();
        let mut is_quoted = false;
        loop {
            if self.rest.starts_with('"') {
                text.push_str(&self.quoted()?);
                is_quoted = true;
                continue;
            }
            if let Some(inside) = self.rest.strip_prefix("${") {
                let end = inside.find('}').ok_or_else(|| self.problem("a `${` has no `}`"))?;
                text.push_str(&self.rest[..end + 3]);
                self.pass(end + 3);
                continue;
            }
            let Some(c) = self.rest.chars().next() else { break };
            if c == '\n' || c == '#' || ends.contains(&c) || self.rest.starts_with("//") {
                break;
            }
            if "{}[],".contains(c) {
                return Err(self.problem(format!("unexpected `{c}`; quote the text")));
            }
            text.push(c);
            self.pass(c.len_utf8());
        }
        let text = if is_quoted { text.trim_end() } else { text.trim() };
        match text.is_empty() && !is_quoted {
            true => Err(self.problem("a value is missing here")),
            false => Ok(Node { value: Value::Text(text.to_owned()), line }),
        }
    }

    fn list(&mut self, line: u32) -> Result<Node, Problem> {
        self.deeper()?;
        let mut items = Vec::new();
        loop {
            self.blanks(true);
            if self.eat(",") {
                continue;
            }
            if self.eat("]") {
                self.depth -= 1;
                return Ok(Node { value: Value::List(items), line });
            }
            if self.rest.is_empty() {
                return Err(self.problem("a `[` has no `]`"));
            }
            items.push(self.value(&[',', ']'])?);
        }
    }

    /// Parses a text in quotes, or in triple quotes, in which nothing is escaped.
    fn quoted(&mut self) -> Result<String, Problem> {
        if let Some(inside) = self.rest.strip_prefix("\"\"\"") {
            let end = inside.find("\"\"\"").ok_or_else(|| self.problem("a `\"\"\"` has no end"))?;
            // Quotes before the last three belong to the text.
            let more = inside[end + 3..].bytes().take_while(|byte| *byte == b'"').count();
            let text = inside[..end + more].to_owned();
            self.pass(end + more + 6);
            return Ok(text);
        }
        let mut is_escaped = false;
        let end = self.rest[1..].find(|c| {
            let ends = !is_escaped && matches!(c, '"' | '\n');
            is_escaped = !is_escaped && c == '\\';
            ends
        });
        let end = end.map(|at| at + 1).filter(|at| self.rest.as_bytes()[*at] == b'"');
        let end = end.ok_or_else(|| self.problem("a `\"` has no end in its line"))?;
        // It is a JSON string.
        let text = serde_json::from_str(&self.rest[..=end]);
        let text = text.map_err(|_| self.problem("unknown escape sequence in the text"))?;
        self.pass(end + 1);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As JSON, for a comparison.
    fn json(node: &Node) -> serde_json::Value {
        match &node.value {
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(json).collect(),
            Value::Table(entries) => {
                entries.iter().map(|(key, node)| (key.clone(), json(node))).collect()
            }
        }
    }

    #[test]
    fn the_ways_to_write_a_value_are_read() {
        let text = "# a comment\nmorphlines : [ {\n  id : m1 // one more\n  commands = [\n    \
            { readLine { charset : UTF-8 } }, {grok{\nexpressions{message:\"\"\"<%{X:a}>\"q\"\"\"\"\
            }}}\n    { \"a.b\" : \"x\\n\\\"y\\\"\", list : [a b, \"c\" ,3\n4] }\n  ]\n} ]\n\
            locator = ${SOLR}\nnone : \"\"\nempty {}\n";
        let expected = serde_json::json!({
            "morphlines": [{ "id": "m1", "commands": [
                { "readLine": { "charset": "UTF-8" } },
                { "grok": { "expressions": { "message": "<%{X:a}>\"q\"" } } },
                { "a.b": "x\n\"y\"", "list": ["a b", "c", "3", "4"] },
            ] }],
            "locator": "${SOLR}", "none": "", "empty": {},
        });
        let root = read(text).unwrap();
        assert_eq!(json(&root), expected);
        let commands = root.get("morphlines").unwrap().items()[0].get("commands").unwrap();
        let lines: Vec<u32> = commands.items().iter().map(|it| it.line).collect();
        assert_eq!((commands.line, lines), (4, vec![5, 5, 7]));
        assert_eq!(json(&read("{ a : 1 }").unwrap()), serde_json::json!({ "a": "1" }));
    }

    #[test]
    fn what_is_not_in_the_format_is_refused_with_its_line() {
        for (text, line, problem) in [
            ("a : {\nb : 1\n", 3, "no `}`"),
            ("a : [1\n", 2, "no `]`"),
            ("a : \"x\nb : 1", 1, "no end"),
            ("a : \"\"\"x", 1, "no end"),
            ("a\nb", 2, "is missing after `a`"),
            ("a : \n", 2, "a value is missing here"),
            ("a.b : 1", 1, "in quotes"),
            ("include \"x\"", 1, "one file"),
            ("a += 1", 1, "whole list"),
            ("{ a : 1 } }", 1, "after the end"),
            ("a : x [", 1, "unexpected"),
            ("a : \"\\q\"", 1, "escape"),
            ("a : ${x", 1, "no `}`"),
        ] {
            let found = read(text).unwrap_err();
            assert!(found.line == line && found.text.contains(problem), "{text:?}: {found:?}");
        }
        let deep = "[".repeat(10_000);
        assert!(read(&format!("a : {deep}")).unwrap_err().text.contains("nested"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "{", "}", "[", "]", ":", "=", ",", "\n", "\"", "\"\"\"", "\\", "#", "//", "${",
                "a", "é", " ", "include", "+=", ".",
            ]), 0..40),
        ) {
            drop(read(&pieces.concat()));
        }
    }
}
