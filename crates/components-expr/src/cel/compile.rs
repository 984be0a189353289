//! From the text of an expression to its tree, or what is wrong with it and what helps.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};
use cel::parser::Parser;

use super::numbers::{Arithmetic, Double, Int};
use super::tree::{Bool, Compare, Text};

/// Bytes of an expression.
const EXPRESSION_MAX: usize = 4096;
/// Parts of an expression within each other.
const DEPTH_MAX: usize = 48;

const NAMES: &str = "available: `body`, `headers.NAME` and `headers[\"NAME\"]`";

/// The tree of an expression.
///
/// # Errors
/// What is wrong, with its place in the expression, and what helps.
pub(super) fn compile(text: &str) -> Result<Bool, String> {
    if text.len() > EXPRESSION_MAX {
        let bytes = text.len();
        return Err(format!(
            "it has {bytes} bytes, over the limit of {EXPRESSION_MAX}; divide it into several \
             conditions"
        ));
    }
    let (read, source) = Parser::new().parse_with_source_info(text).map_err(|errors| {
        let Some(first) = errors.errors.into_iter().next() else {
            return "it is not a CEL expression".to_owned();
        };
        format!("line {}, character {}: {}", first.pos.0, first.pos.1, first.msg)
    })?;
    let mut compiler = Compiler { text, source: &source, depth: 0, patterns: 0 };
    match compiler.typed(&read)? {
        Typed::Bool(test) => Ok(test),
        other => {
            Err(format!("it is {}, but must be true or false; add a comparison", other.name()))
        }
    }
}

/// A part of an expression, by its type.
pub(super) enum Typed {
    Bool(Bool),
    Int(Int),
    Double(Double),
    Text(Text),
}

impl Typed {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "true or false",
            Self::Int(_) => "a whole number",
            Self::Double(_) => "a number with a fraction",
            Self::Text(_) => "text",
        }
    }
}

/// Two parts of one type.
enum Pair {
    Bools(Bool, Bool),
    Ints(Int, Int),
    Doubles(Double, Double),
    Texts(Text, Text),
}

pub(super) struct Compiler<'a> {
    text: &'a str,
    source: &'a SourceInfo,
    depth: usize,
    pub(super) patterns: usize,
}

pub(super) type Compiled<T> = Result<T, String>;

impl Compiler<'_> {
    /// An error at this part.
    pub(super) fn wrong<T>(&self, at: &IdedExpr, problem: &str) -> Compiled<T> {
        let offset = self.source.offset_for(at.id).map(|(start, _)| start as usize);
        let before = self.text.chars().take(offset.unwrap_or_default());
        let (mut line, mut character) = (1, 1);
        for c in before {
            (line, character) = if c == '\n' { (line + 1, 1) } else { (line, character + 1) };
        }
        Err(format!("line {line}, character {character}: {problem}"))
    }

    pub(super) fn typed(&mut self, at: &IdedExpr) -> Compiled<Typed> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let problem = format!(
                "parts are nested more than {DEPTH_MAX} deep; divide the expression into \
                 several conditions"
            );
            return self.wrong(at, &problem);
        }
        let typed = self.part(at);
        self.depth -= 1;
        typed
    }

    fn part(&mut self, at: &IdedExpr) -> Compiled<Typed> {
        match &at.expr {
            Expr::Literal(value) => self.literal(at, value),
            Expr::Ident(name) if name == "body" => Ok(Typed::Text(Text::Body)),
            Expr::Ident(name) if name == "headers" => {
                self.wrong(at, "`headers` is not a value; write headers.NAME or headers[\"NAME\"]")
            }
            Expr::Ident(name) => self.wrong(at, &format!("unknown name `{name}`; {NAMES}")),
            Expr::Select(select) if is_headers(&select.operand) => {
                let name = select.field.as_str().into();
                Ok(if select.test {
                    Typed::Bool(Bool::Has(name))
                } else {
                    Typed::Text(Text::Header(name))
                })
            }
            Expr::Select(select) => {
                self.wrong(at, &format!("unknown field `.{}`; {NAMES}", select.field))
            }
            Expr::Call(call) => self.call(at, call),
            Expr::Comprehension(_) => self.wrong(
                at,
                "loops (`all`, `exists`, `exists_one`, `map`, `filter`) are not part of a \
                 condition; use `in`, `matches`, or several conditions",
            ),
            Expr::List(_) => self.wrong(at, "a list is only allowed to the right of `in`"),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.wrong(at, "only text, numbers, true and false are allowed here")
            }
        }
    }

    fn literal(&self, at: &IdedExpr, value: &LiteralValue) -> Compiled<Typed> {
        match value {
            LiteralValue::Boolean(value) => Ok(Typed::Bool(Bool::Constant(*value.inner()))),
            LiteralValue::Int(number) => Ok(Typed::Int(Int::Constant(*number.inner()))),
            LiteralValue::Double(number) => Ok(Typed::Double(Double::Constant(*number.inner()))),
            LiteralValue::String(text) => {
                Ok(Typed::Text(Text::Constant(text.inner().as_bytes().into())))
            }
            LiteralValue::UInt(_) => self.wrong(at, "write the number without `u`"),
            LiteralValue::Bytes(_) => self.wrong(at, "write the text without `b` before it"),
            LiteralValue::Null => {
                self.wrong(at, "`null` is not supported; use has(headers.NAME) instead")
            }
        }
    }

    fn call(&mut self, at: &IdedExpr, call: &CallExpr) -> Compiled<Typed> {
        let name = call.func_name.as_str();
        match (name, &call.target, call.args.as_slice()) {
            (operators::CONDITIONAL, None, [condition, one, other]) => {
                let condition = self.bool(condition)?;
                Ok(match self.pair(at, one, other)? {
                    Pair::Bools(a, b) => Typed::Bool(Bool::Choice(Box::new((condition, a, b)))),
                    Pair::Ints(a, b) => Typed::Int(Int::Choice(Box::new((condition, a, b)))),
                    Pair::Doubles(a, b) => {
                        Typed::Double(Double::Choice(Box::new((condition, a, b))))
                    }
                    Pair::Texts(a, b) => Typed::Text(Text::Choice(Box::new((condition, a, b)))),
                })
            }
            (operators::LOGICAL_AND, None, [one, other]) => {
                Ok(Typed::Bool(Bool::And(Box::new((self.bool(one)?, self.bool(other)?)))))
            }
            (operators::LOGICAL_OR, None, [one, other]) => {
                Ok(Typed::Bool(Bool::Or(Box::new((self.bool(one)?, self.bool(other)?)))))
            }
            (operators::LOGICAL_NOT, None, [inner]) => {
                Ok(Typed::Bool(Bool::Not(Box::new(self.bool(inner)?))))
            }
            (operators::NEGATE, None, [inner]) => match self.typed(inner)? {
                Typed::Int(number) => Ok(Typed::Int(Int::Negated(Box::new(number)))),
                Typed::Double(number) => Ok(Typed::Double(Double::Negated(Box::new(number)))),
                other => self.wrong(at, &format!("`-` cannot precede {}", other.name())),
            },
            (operators::INDEX, None, [headers, name]) if is_headers(headers) => {
                let name = self.constant(name, "the name of a header")?;
                Ok(Typed::Text(Text::Header(name.into())))
            }
            (operators::IN, None, [value, list]) => self.is_in(at, value, list).map(Typed::Bool),
            (_, None, [one, other]) if let Some(compare) = compare(name) => {
                self.compared(at, compare, one, other).map(Typed::Bool)
            }
            (_, None, [one, other]) if let Some(how) = arithmetic(name) => {
                self.worked(at, how, one, other)
            }
            (_, Some(target), args) => {
                let all: Vec<&IdedExpr> = std::iter::once(&**target).chain(args).collect();
                self.function(at, name, &all, true)
            }
            (_, None, args) => self.function(at, name, &args.iter().collect::<Vec<_>>(), false),
        }
    }

    pub(super) fn bool(&mut self, at: &IdedExpr) -> Compiled<Bool> {
        match self.typed(at)? {
            Typed::Bool(test) => Ok(test),
            other => {
                let name = other.name();
                self.wrong(at, &format!("this is {name}, but must be true or false"))
            }
        }
    }

    pub(super) fn text(&mut self, at: &IdedExpr) -> Compiled<Text> {
        match self.typed(at)? {
            Typed::Text(text) => Ok(text),
            other => self.wrong(at, &format!("this is {}, but must be text", other.name())),
        }
    }

    pub(super) fn constant<'e>(&self, at: &'e IdedExpr, what: &str) -> Compiled<&'e str> {
        match &at.expr {
            Expr::Literal(LiteralValue::String(text)) => Ok(text.inner()),
            _ => self.wrong(at, &format!("{what} must be a constant text in quotation marks")),
        }
    }

    /// Two parts of the same type. A constant whole number becomes one with a fraction where the
    /// other part is one.
    fn pair(&mut self, at: &IdedExpr, one: &IdedExpr, other: &IdedExpr) -> Compiled<Pair> {
        match (self.typed(one)?, self.typed(other)?) {
            (Typed::Bool(a), Typed::Bool(b)) => Ok(Pair::Bools(a, b)),
            (Typed::Int(a), Typed::Int(b)) => Ok(Pair::Ints(a, b)),
            (Typed::Double(a), Typed::Double(b)) => Ok(Pair::Doubles(a, b)),
            (Typed::Text(a), Typed::Text(b)) => Ok(Pair::Texts(a, b)),
            (Typed::Int(Int::Constant(a)), Typed::Double(b)) if is_exact(a) => {
                Ok(Pair::Doubles(Double::Constant(a as f64), b))
            }
            (Typed::Double(a), Typed::Int(Int::Constant(b))) if is_exact(b) => {
                Ok(Pair::Doubles(a, Double::Constant(b as f64)))
            }
            (a, b) => {
                let remedy = match (&a, &b) {
                    (Typed::Bool(_), _) | (_, Typed::Bool(_)) => "compare each with a value",
                    (Typed::Text(_), _) | (_, Typed::Text(_)) => {
                        "write int(…) or double(…) around the text"
                    }
                    _ => "write double(…) around the whole number",
                };
                let (a, b) = (a.name(), b.name());
                self.wrong(at, &format!("cannot compare or combine {a} with {b}; {remedy}"))
            }
        }
    }

    fn compared(
        &mut self,
        at: &IdedExpr,
        compare: Compare,
        one: &IdedExpr,
        other: &IdedExpr,
    ) -> Compiled<Bool> {
        Ok(match (self.pair(at, one, other)?, compare) {
            (Pair::Ints(a, b), _) => Bool::Ints(compare, Box::new((a, b))),
            (Pair::Doubles(a, b), _) => Bool::Doubles(compare, Box::new((a, b))),
            (Pair::Texts(a, b), _) => Bool::Texts(compare, Box::new((a, b))),
            (Pair::Bools(a, b), Compare::Equal) => Bool::Same(Box::new((a, b))),
            (Pair::Bools(a, b), Compare::NotEqual) => {
                Bool::Not(Box::new(Bool::Same(Box::new((a, b)))))
            }
            (Pair::Bools(..), _) => {
                return self.wrong(at, "true and false have no order; use `==` or `!=`");
            }
        })
    }

    fn worked(
        &mut self,
        at: &IdedExpr,
        how: Arithmetic,
        one: &IdedExpr,
        other: &IdedExpr,
    ) -> Compiled<Typed> {
        match (self.pair(at, one, other)?, how) {
            (Pair::Doubles(..), Arithmetic::Remainder) => {
                self.wrong(at, "`%` needs whole numbers; write int(…) around both")
            }
            (Pair::Ints(a, b), _) => Ok(Typed::Int(Int::Worked(how, Box::new((a, b))))),
            (Pair::Doubles(a, b), _) => Ok(Typed::Double(Double::Worked(how, Box::new((a, b))))),
            (Pair::Texts(..), _) => self.wrong(
                at,
                "texts cannot be joined in a condition; write int(…) or double(…) around numbers, \
                 or compare the texts separately",
            ),
            (Pair::Bools(..), _) => self.wrong(at, "true and false are not numbers"),
        }
    }
}

pub(super) fn is_headers(at: &IdedExpr) -> bool {
    matches!(&at.expr, Expr::Ident(name) if name == "headers")
}

/// Whether a number with a fraction holds it and its neighbours.
fn is_exact(number: i64) -> bool {
    number.unsigned_abs() <= 1 << 53
}

fn compare(operator: &str) -> Option<Compare> {
    Some(match operator {
        operators::EQUALS => Compare::Equal,
        operators::NOT_EQUALS => Compare::NotEqual,
        operators::LESS => Compare::Less,
        operators::LESS_EQUALS => Compare::AtMost,
        operators::GREATER => Compare::Greater,
        operators::GREATER_EQUALS => Compare::AtLeast,
        _ => return None,
    })
}

fn arithmetic(operator: &str) -> Option<Arithmetic> {
    Some(match operator {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        operators::MODULO => Arithmetic::Remainder,
        _ => return None,
    })
}
