//! Translates regular expressions of file names into patterns of `tail_dir`.
//!
//! An alternative becomes a separate pattern, `.*` is `*`, and a class stays a class. An expression
//! without an exact pattern becomes a wider one, never a narrower one, with a finding. A single `.`
//! is treated as a dot, which is its meaning in names such as `access.log`.

/// Maximum number of patterns from one expression.
const PATTERNS_MAX: usize = 64;

/// Maximum depth of groups.
const DEPTH_MAX: usize = 16;

/// Maximum number of copies of a class, for `{n}`.
const COPIES_MAX: usize = 32;

/// The translation of an expression.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Patterns {
    /// One pattern for each alternative.
    pub(super) all: Vec<String>,
    /// Patterns of names that a negative lookahead excludes.
    pub(super) excluded: Vec<String>,
    /// True if a `.` that matches any character was treated as a dot.
    pub(super) has_dot: bool,
    /// True if they match more names than the expression.
    pub(super) is_wider: bool,
}

/// Translates a path whose last name is a regular expression.
///
/// # Errors
/// The expression has a part without a counterpart: that part, for the user.
pub(super) fn of_path(path: &str) -> Result<Patterns, String> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut parser = Parser { rest: name.chars().collect(), at: 0, found: Patterns::default() };
    let excluded = parser.excluded()?;
    let names = parser.alternatives(0)?;
    if parser.at < parser.rest.len() {
        return Err("a `)` has no `(`".into());
    }
    let mut directory: String = directory.chars().map(literal).collect();
    directory.push('/');
    let mut found = parser.found;
    let paths = |names: Vec<String>| {
        names.into_iter().map(|name| format!("{directory}{name}")).collect::<Vec<_>>()
    };
    (found.all, found.excluded) = (paths(names), paths(excluded));
    Ok(found)
}

/// Returns true if two patterns may match the same path: false is certain.
pub(super) fn may_share(one: &str, other: &str) -> bool {
    let literal = |pattern: &str| {
        let end = pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len());
        pattern[..end].to_owned()
    };
    let (one, other) = (literal(one), literal(other));
    one.starts_with(&other) || other.starts_with(&one)
}

/// Escapes a literal character for a pattern.
fn literal(c: char) -> String {
    match c {
        '*' | '?' | '[' | ']' | '{' | '}' | '!' | '\\' => format!("[{c}]").replace("[\\]", "\\\\"),
        other => other.to_string(),
    }
}

/// One part of an expression.
enum Atom {
    /// `.`
    Any,
    /// A literal character.
    Literal(char),
    /// A class, as a pattern has it.
    Class(String),
    /// `(…)`, with its alternatives.
    Group(Vec<String>),
}

struct Parser {
    rest: Vec<char>,
    at: usize,
    found: Patterns,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let is_it = self.peek() == Some(c);
        self.at += usize::from(is_it);
        is_it
    }

    /// Parses negative lookaheads at the beginning: names that begin with one of these texts do not
    /// match, or names that are equal to one if it ends with `$`.
    fn excluded(&mut self) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        let _ = self.eat('^');
        while self.rest[self.at..].starts_with(&['(', '?', '!']) {
            self.at += 3;
            let start = self.at;
            let names = self.alternatives(1)?;
            let text = &self.rest[start..self.at];
            let is_whole = text.ends_with(&['$']) && !text.ends_with(&['\\', '$']);
            let ends = text.iter().filter(|c| **c == '$').count();
            if !self.eat(')') {
                return Err("a `(` has no `)`".into());
            }
            // A pattern that matches more names would exclude too many.
            if self.found.is_wider || ends > usize::from(is_whole) || (is_whole && names.len() > 1)
            {
                return Err("this `(?!…)` cannot be translated".into());
            }
            let rest = if is_whole { "" } else { "*" };
            all.extend(names.into_iter().map(|name| format!("{name}{rest}")));
            self.found.is_wider = std::mem::take(&mut self.found.has_dot);
        }
        Ok(all)
    }

    /// Parses the alternatives up to a `)` or the end.
    fn alternatives(&mut self, depth: usize) -> Result<Vec<String>, String> {
        if depth > DEPTH_MAX {
            return Err(format!("groups are nested more than {DEPTH_MAX} levels deep"));
        }
        let mut all = self.sequence(depth)?;
        while self.eat('|') {
            all.extend(self.sequence(depth)?);
        }
        match all.len() {
            ..=PATTERNS_MAX => Ok(all),
            _ => Err(format!("the expression has more than {PATTERNS_MAX} alternatives")),
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<String>, String> {
        let mut all = vec![String::new()];
        while let Some(c) = self.peek() {
            if matches!(c, '|' | ')') {
                break;
            }
            // The expression is held against the whole name.
            if self.eat('^') || self.eat('$') {
                continue;
            }
            let atom = self.atom(depth)?;
            let choices = self.quantified(atom)?;
            if all.len() * choices.len() > PATTERNS_MAX {
                return Err(format!("the expression has more than {PATTERNS_MAX} alternatives"));
            }
            let longer = |start: &String| {
                let start = start.clone();
                choices.iter().map(move |end| format!("{start}{end}")).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(longer).collect();
        }
        Ok(all)
    }

    fn atom(&mut self, depth: usize) -> Result<Atom, String> {
        match self.next() {
            Some('.') => Ok(Atom::Any),
            Some('[') => self.class(),
            Some('(') => {
                if self.eat('?') && !self.eat(':') {
                    return Err("`(?` cannot be translated, except `(?:`".into());
                }
                let inside = self.alternatives(depth + 1)?;
                if !self.eat(')') {
                    return Err("a `(` has no `)`".into());
                }
                Ok(Atom::Group(inside))
            }
            Some('\\') => match self.next() {
                Some('d') => Ok(Atom::Class("[0-9]".into())),
                Some('w') => Ok(Atom::Class("[A-Za-z0-9_]".into())),
                Some(c) if c.is_ascii_alphanumeric() => {
                    Err(format!("`\\{c}` cannot be translated"))
                }
                Some(c) => Ok(Atom::Literal(c)),
                None => Err("the expression ends with a backslash".into()),
            },
            Some(c @ ('*' | '+' | '?' | '{')) => {
                Err(format!("`{c}` does not follow an item to repeat"))
            }
            Some(c) => Ok(Atom::Literal(c)),
            None => Err("the expression ends too early".into()),
        }
    }

    fn class(&mut self) -> Result<Atom, String> {
        let mut class = String::from("[");
        if self.eat('^') {
            class.push('!');
        }
        loop {
            match self.next() {
                Some(']') if class.len() > 1 && class != "[!" => break,
                Some('\\') => match self.next() {
                    Some('d') => class.push_str("0-9"),
                    Some('w') => class.push_str("A-Za-z0-9_"),
                    Some(c) if !c.is_ascii_alphanumeric() && !matches!(c, ']' | '-') => {
                        class.push(c);
                    }
                    _ => return Err("an escape in `[…]` cannot be translated".into()),
                },
                Some('[' | '&') => {
                    return Err("nested character classes cannot be translated".into());
                }
                Some(c) => class.push(c),
                None => return Err("a `[` has no `]`".into()),
            }
        }
        class.push(']');
        Ok(Atom::Class(class))
    }

    /// Returns the possible forms of an atom with its quantifier.
    fn quantified(&mut self, atom: Atom) -> Result<Vec<String>, String> {
        let (least, most) = self.quantifier()?;
        let is_once = (least, most) == (1, Some(1));
        let once = match atom {
            Atom::Any if is_once => {
                self.found.has_dot = true;
                vec![".".to_owned()]
            }
            Atom::Any => vec!["?".to_owned()],
            Atom::Literal(c) => vec![literal(c)],
            Atom::Class(class) => vec![class],
            Atom::Group(all) => all,
        };
        match (least, most) {
            (1, Some(1)) => return Ok(once),
            (0, Some(1)) => return Ok(once.into_iter().chain([String::new()]).collect()),
            _ => {}
        }
        let [one] = &once[..] else {
            return Err("a repeated group with alternatives cannot be translated".into());
        };
        if least > COPIES_MAX {
            return Err(format!("more than {COPIES_MAX} repetitions cannot be translated"));
        }
        let copies = one.repeat(least);
        if most == Some(least) {
            return Ok(vec![copies]);
        }
        // Any number of any characters is exact; other repetitions match more names.
        self.found.is_wider |= one != "?" || most.is_some();
        Ok(vec![format!("{copies}*")])
    }

    /// Parses a quantifier: the minimum, and the maximum unless there is no limit.
    fn quantifier(&mut self) -> Result<(usize, Option<usize>), String> {
        let range = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                let rest: String = self.rest[self.at + 1..].iter().collect();
                let inside = rest.split_once('}').map(|(inside, _)| inside);
                let inside = inside.ok_or("a `{` has no `}`")?;
                let number = |text: &str| {
                    text.parse::<usize>().map_err(|_| format!("`{{{inside}}}` is not a repetition"))
                };
                self.at += inside.chars().count() + 1;
                match inside.split_once(',') {
                    None => (number(inside)?, Some(number(inside)?)),
                    Some((least, "")) => (number(least)?, None),
                    Some((least, most)) => (number(least)?, Some(number(most)?)),
                }
            }
            _ => return Ok((1, Some(1))),
        };
        self.at += 1;
        // Reluctant and possessive ones match the same whole names.
        let _ = self.eat('?') || self.eat('+');
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_becomes_a_pattern() {
        for (path, patterns) in [
            ("/var/log/x/.*", &["/var/log/x/*"][..]),
            ("/var/log/x/.*log.*", &["/var/log/x/*log*"]),
            ("/l/.+\\.log$", &["/l/?*.log"]),
            ("/l/^app-\\d{4}-\\d\\d\\.log", &["/l/app-[0-9][0-9][0-9][0-9]-[0-9][0-9].log"]),
            ("/l/app\\.log(\\.[0-9])?", &["/l/app.log.[0-9]", "/l/app.log"]),
            ("/l/(access|error)\\.log", &["/l/access.log", "/l/error.log"]),
            ("/l/a\\.log|b\\.log", &["/l/a.log", "/l/b.log"]),
            ("/l/[^.].*", &["/l/[!.]*"]),
            ("/l{1}/a\\{b", &["/l[{]1[}]/a[{]b"]),
        ] {
            let found = of_path(path).unwrap();
            assert_eq!(found.all, patterns, "{path}");
            assert!(!found.has_dot && !found.is_wider, "{path}: {found:?}");
        }
    }

    #[test]
    fn a_negative_lookahead_becomes_exclusions() {
        for (path, excluded) in [
            ("/l/(?!debug).*\\.log", &["/l/debug*"][..]),
            ("/l/^(?!.*\\.gz$).*\\.log", &["/l/*.gz"]),
            ("/l/(?!a|b)(?!c).*\\.log", &["/l/a*", "/l/b*", "/l/c*"]),
        ] {
            let found = of_path(path).unwrap();
            assert_eq!(found.all, ["/l/*.log"], "{path}");
            assert_eq!(found.excluded, excluded, "{path}");
            assert!(!found.is_wider, "{path}");
        }
        assert!(of_path("/l/(?!a.b).*").unwrap().is_wider, "any character instead of the dot");
        assert!(may_share("/l/debug-*", "/l/debug*") && may_share("/l/x.log", "/l/*.gz"));
        assert!(!may_share("/l/app.log", "/l/debug*") && !may_share("/m/debug*", "/l/debug*"));
    }

    #[test]
    fn what_is_not_exact_is_said() {
        let found = of_path("/l/access.log").unwrap();
        assert_eq!((found.all[0].as_str(), found.has_dot), ("/l/access.log", true));
        let found = of_path("/l/a\\d+\\.log").unwrap();
        assert_eq!((found.all[0].as_str(), found.is_wider), ("/l/a[0-9]*.log", true));
        let found = of_path("/l/.{0,3}x").unwrap();
        assert_eq!((found.all[0].as_str(), found.is_wider), ("/l/*x", true));
    }

    #[test]
    fn what_has_no_counterpart_is_refused() {
        for path in [
            "/l/x(?!x).*",
            "/l/(?=x).*",
            "/l/(?!\\d+).*",
            "/l/(?!a$|b).*",
            "/l/(?!a",
            "/l/(a|b)+",
            "/l/a\\sb",
            "/l/(a",
            "/l/a)",
            "/l/[a",
            "/l/*.log",
            "/l/a{9999}",
            "/l/a{x}",
            "/l/(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)",
            "/l/a\\",
        ] {
            assert!(of_path(path).is_err(), "{path}");
        }
        let deep = format!("/l/{}", "(".repeat(100_000));
        assert!(of_path(&deep).unwrap_err().contains("nested"));
    }
}
