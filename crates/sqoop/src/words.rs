//! Splits lines of a shell script into words, as far as calls of Sqoop need it.
//!
//! Quotes, backslashes, comments, and continued lines are parsed. Nothing is run and no variable
//! has a value: parts that the shell would replace stay as they are written, and are listed in
//! [`Call::shell`].

/// A call of Sqoop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The line of the script in which it begins, from 1.
    pub line: u32,
    /// The tool, such as `import`.
    pub tool: String,
    /// The arguments after the tool.
    pub arguments: Vec<String>,
    /// The parts that the shell would replace: `$DAY`, `$(date)`.
    pub shell: Vec<String>,
}

impl Call {
    /// Returns the call in these words, the program's name first; `None` if it calls something
    /// else.
    pub fn of(words: &[String], line: u32) -> Option<Self> {
        let at = words.iter().position(|word| {
            let name = word.rsplit('/').next().unwrap_or_default();
            name == "sqoop" || name.starts_with("sqoop-")
        })?;
        // Variables and other programs may precede it: `sudo -u etl sqoop import`.
        let name = words[at].rsplit('/').next().unwrap_or_default();
        let (tool, rest) = match name.strip_prefix("sqoop-") {
            Some(tool) => (tool.to_owned(), &words[at + 1..]),
            None => {
                let (tool, rest) = words[at + 1..].split_first()?;
                (tool.clone(), rest)
            }
        };
        Some(Self { line, tool, arguments: rest.to_vec(), shell: Vec::new() })
    }
}

/// The calls of Sqoop in a script, in their order.
///
/// # Errors
/// A quote has no end: its line, and the remedy.
pub fn calls(script: &str) -> Result<Vec<Call>, String> {
    let mut reader = Reader { rest: script.chars().peekable(), line: 1, shell: Vec::new() };
    let mut calls = Vec::new();
    while let Some((words, line)) = reader.command()? {
        let shell = std::mem::take(&mut reader.shell);
        calls.extend(Call::of(&words, line).map(|call| Call { shell, ..call }));
    }
    Ok(calls)
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: u32,
    shell: Vec<String>,
}

/// Characters that end a command, besides the end of its line.
const ENDS: &str = ";|&()";

impl Reader<'_> {
    fn take(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.line += u32::from(c == '\n');
        Some(c)
    }

    /// Returns the words of the next command and its line; `None` at the end.
    fn command(&mut self) -> Result<Option<(Vec<String>, u32)>, String> {
        let (mut words, mut first) = (Vec::new(), self.line);
        let mut word: Option<String> = None;
        let mut skips = false;
        loop {
            let next = self.rest.peek().copied();
            let is_end = next.is_none_or(|c| c.is_whitespace() || ENDS.contains(c) || c == '>');
            if is_end && let Some(word) = word.take() {
                // The target of a redirection is no argument.
                if !std::mem::take(&mut skips) {
                    words.push(word);
                }
            }
            let Some(c) = next else {
                return Ok((!words.is_empty()).then_some((words, first)));
            };
            if c == '#' && word.is_none() {
                while self.rest.peek().is_some_and(|c| *c != '\n') {
                    self.take();
                }
                continue;
            }
            if word.is_none() && words.is_empty() {
                first = self.line;
            }
            self.take();
            match c {
                '\n' | ';' | '|' | '(' | ')' if words.is_empty() => {}
                '\n' | ';' | '|' | '&' | '(' | ')' => return Ok(Some((words, first))),
                '>' => {
                    if words.last().is_some_and(|it| it == "1" || it == "2") {
                        words.pop();
                    }
                    while self.rest.peek().is_some_and(|c| *c == '>' || *c == '&') {
                        self.take();
                    }
                    skips = true;
                }
                c if c.is_whitespace() => {}
                '\\' => match self.take() {
                    Some('\n') | None => {}
                    Some(c) => word.get_or_insert_default().push(c),
                },
                '\'' => {
                    let text = self.quoted()?;
                    word.get_or_insert_default().push_str(&text);
                }
                '"' => {
                    let text = self.double()?;
                    word.get_or_insert_default().push_str(&text);
                }
                '$' | '`' => {
                    let text = self.replaced(c)?;
                    word.get_or_insert_default().push_str(&text);
                }
                c => word.get_or_insert_default().push(c),
            }
        }
    }

    fn unended(line: u32, what: char) -> String {
        format!("line {line}: the {what} that starts here is not closed; pass each call as a whole")
    }

    fn quoted(&mut self) -> Result<String, String> {
        let (line, mut text) = (self.line, String::new());
        loop {
            match self.take() {
                Some('\'') => return Ok(text),
                Some(c) => text.push(c),
                None => return Err(Self::unended(line, '\'')),
            }
        }
    }

    fn double(&mut self) -> Result<String, String> {
        let (line, mut text) = (self.line, String::new());
        loop {
            match self.take() {
                Some('"') => return Ok(text),
                Some('\\') => match self.take() {
                    Some('\n') | None => {}
                    Some(c) if "\\\"$`".contains(c) => text.push(c),
                    Some(c) => text.extend(['\\', c]),
                },
                Some(c) if "$`".contains(c) => text.push_str(&self.replaced(c)?),
                Some(c) => text.push(c),
                None => return Err(Self::unended(line, '"')),
            }
        }
    }

    /// Reads a part that begins with `$` or a backtick, as it is written. `$CONDITIONS` is Sqoop's
    /// own.
    fn replaced(&mut self, first: char) -> Result<String, String> {
        let (line, mut text) = (self.line, first.to_string());
        let close = match (first, self.rest.peek()) {
            ('`', _) => Some('`'),
            (_, Some('(')) => Some(')'),
            (_, Some('{')) => Some('}'),
            _ => None,
        };
        let mut depth = 0;
        while let Some(c) = self.rest.peek().copied() {
            match close {
                Some(close) => {
                    self.take();
                    text.push(c);
                    depth += i32::from(c == '(');
                    depth -= i32::from(c == ')');
                    if c == close && depth <= 0 {
                        break;
                    }
                }
                None if c.is_alphanumeric() || c == '_' => {
                    self.take();
                    text.push(c);
                }
                None => break,
            }
        }
        if close.is_some_and(|close| text.len() < 2 || !text.ends_with(close)) {
            return Err(Self::unended(line, first));
        }
        if text.len() > 1 && text != "$CONDITIONS" {
            self.shell.push(text.clone());
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_as_the_shell_reads_it() {
        let script = "#!/bin/bash\nset -e  # sqoop import --not-this\nDAY=$(date +%F)\n\
            sudo -u etl /opt/sqoop/bin/sqoop import \\\n  --table 'a b' \
            --where \"x = \\\"1\\\"\" \\\n\
            \x20 --target-dir /d/$DAY >> /var/log/a.log 2>&1 || exit 1\n\
            sqoop-export --table t; echo done\n\
            sqoop import --query 'SELECT 1 WHERE $CONDITIONS' -e \"b \\$CONDITIONS $CONDITIONS\"\n";
        let calls = calls(script).unwrap();
        let words: Vec<(u32, &str, String)> =
            calls.iter().map(|it| (it.line, &*it.tool, it.arguments.join("|"))).collect();
        let expected = [
            (4, "import", "--table|a b|--where|x = \"1\"|--target-dir|/d/$DAY".to_owned()),
            (7, "export", "--table|t".to_owned()),
            (
                8,
                "import",
                "--query|SELECT 1 WHERE $CONDITIONS|-e|b $CONDITIONS $CONDITIONS".to_owned(),
            ),
        ];
        assert_eq!(words, expected);
        assert_eq!(calls[0].shell, ["$DAY"]);
        assert!(calls[2].shell.is_empty());
    }

    #[test]
    fn keeps_shell_expansions_as_one_word_and_names_them() {
        let calls =
            calls("sqoop import --last-value $(cat a (b) c) --where \"d = `x y`\" -m 1").unwrap();
        assert_eq!(calls[0].arguments[1], "$(cat a (b) c)");
        assert_eq!(calls[0].arguments[3], "d = `x y`");
        assert_eq!(calls[0].shell, ["$(cat a (b) c)", "`x y`"]);
    }

    #[test]
    fn a_quote_without_an_end_is_an_error_with_its_line() {
        for script in ["\nsqoop import --where 'a", "\nsqoop import \"b", "\nsqoop import $(x"] {
            let problem = calls(script).unwrap_err();
            assert!(problem.starts_with("line 2: "), "{problem}");
        }
    }
}
