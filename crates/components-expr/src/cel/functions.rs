//! The functions of an expression, and `in`.

use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use super::compile::{Compiled, Compiler, Typed, is_headers};
use super::numbers::{Double, Int};
use super::tree::{Bool, Text};

/// Patterns of an expression, and bytes of a compiled one.
const PATTERNS_MAX: usize = 16;
const PATTERN_BYTES_MAX: usize = 1 << 20;

const FUNCTIONS: &str = "`has`, `size`, `contains`, `startsWith`, `endsWith`, `matches`, `int` and \
                         `double`";

impl Compiler<'_> {
    /// A function; of a method, what it is called on is the first argument.
    pub(super) fn function(
        &mut self,
        at: &IdedExpr,
        name: &str,
        args: &[&IdedExpr],
        is_method: bool,
    ) -> Compiled<Typed> {
        let bool = |test| Ok(Typed::Bool(test));
        match (name, args) {
            ("size", [text]) => Ok(Typed::Int(Int::Size(self.text(text)?))),
            ("matches", [text, pattern]) => {
                let text = self.text(text)?;
                bool(Bool::Matches(text, self.pattern(pattern)?))
            }
            ("contains", [text, wanted]) if is_method => {
                let text = self.text(text)?;
                bool(match self.text(wanted)? {
                    Text::Constant(wanted) => {
                        Bool::Finds(text, Box::new(Finder::new(&wanted).into_owned()))
                    }
                    wanted => Bool::Contains(Box::new((text, wanted))),
                })
            }
            ("startsWith", [text, wanted]) if is_method => {
                bool(Bool::StartsWith(Box::new((self.text(text)?, self.text(wanted)?))))
            }
            ("endsWith", [text, wanted]) if is_method => {
                bool(Bool::EndsWith(Box::new((self.text(text)?, self.text(wanted)?))))
            }
            ("int", [value]) if !is_method => match self.typed(value)? {
                Typed::Text(text) => Ok(Typed::Int(Int::Parsed(text))),
                Typed::Double(number) => Ok(Typed::Int(Int::Cut(Box::new(number)))),
                Typed::Int(number) => Ok(Typed::Int(number)),
                Typed::Bool(_) => self.wrong(at, "`int` needs text or a number"),
            },
            ("double", [value]) if !is_method => match self.typed(value)? {
                Typed::Text(text) => Ok(Typed::Double(Double::Parsed(text))),
                Typed::Int(number) => Ok(Typed::Double(Double::Widened(Box::new(number)))),
                Typed::Double(number) => Ok(Typed::Double(number)),
                Typed::Bool(_) => self.wrong(at, "`double` needs text or a number"),
            },
            _ => {
                let count = args.len() - usize::from(is_method);
                let problem = format!(
                    "unknown function `{name}` with {count} values; known: {FUNCTIONS}, as in \
                     headers.NAME.contains(\"text\") and int(headers.NAME)"
                );
                self.wrong(at, &problem)
            }
        }
    }

    /// A pattern, compiled once.
    fn pattern(&mut self, at: &IdedExpr) -> Compiled<Regex> {
        let text = self.constant(at, "a pattern")?;
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            let problem = format!(
                "an expression can have at most {PATTERNS_MAX} patterns; join some with `|`"
            );
            return self.wrong(at, &problem);
        }
        let built = RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
        built.or_else(|error| self.wrong(at, &format!("invalid pattern: {error}")))
    }

    /// `value in [constants]`, or `"NAME" in headers`.
    pub(super) fn is_in(
        &mut self,
        at: &IdedExpr,
        value: &IdedExpr,
        list: &IdedExpr,
    ) -> Compiled<Bool> {
        if is_headers(list) {
            return Ok(Bool::Has(self.constant(value, "the name of a header")?.into()));
        }
        let Expr::List(list) = &list.expr else {
            return self.wrong(list, "the right side of `in` must be a list or `headers`");
        };
        let value = self.typed(value)?;
        let items: Vec<&Expr> = list.elements.iter().map(|item| &item.expr).collect();
        let texts = items.iter().map(|item| match item {
            Expr::Literal(LiteralValue::String(text)) => Some(text.inner().as_bytes().into()),
            _ => None,
        });
        let numbers = items.iter().map(|item| match item {
            Expr::Literal(LiteralValue::Int(number)) => Some(*number.inner()),
            _ => None,
        });
        match value {
            Typed::Text(text) if let Some(list) = texts.collect() => Ok(Bool::TextIn(text, list)),
            Typed::Int(number) if let Some(list) = numbers.collect() => {
                Ok(Bool::IntIn(number, list))
            }
            other => {
                let name = other.name();
                let problem = format!(
                    "`in` needs text and a list of constant texts, or a whole number and a list \
                     of constant whole numbers; its left side is {name}"
                );
                self.wrong(at, &problem)
            }
        }
    }
}
