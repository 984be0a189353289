//! Nested columns: assembles a row's value from leaf entries.
//!
//! ```text
//!   optional group a (LIST) { repeated group list { optional int32 element; } }
//!   one leaf:   (repetition, definition, value)…   0 3 7 │ 1 2 - │ 0 0 -        ─► [7,null], null
//! ```
//!
//! A leaf has an entry for each of its values, and for each place where a group or a list above it
//! ends early. The definition level tells how much of the path is present, the repetition level
//! which list continues. All leaves of a group share the entries above and at the group, so its
//! first leaf is used for them. Rules for lists and maps: Parquet's `LogicalTypes.md`, including
//! those for old writers.

use std::ops::Range;

use ::parquet::basic::{ConvertedType, LogicalType, Repetition};
use ::parquet::schema::types::Type;

use super::column::Column;

/// Maximum nesting of groups.
const DEPTH_MAX: u32 = 64;

/// The structure of a field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    leaves: Range<usize>,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Leaf,
    /// Members by their names as JSON. Present from this definition level on.
    Group {
        members: Vec<(String, Node)>,
        level: i16,
    },
    /// Present from `level` on; has an element from `filled` on.
    List {
        element: Box<Node>,
        level: i16,
        filled: i16,
        repeats: i16,
    },
    /// Same for pairs; keys are values without members.
    Map {
        key: Box<Node>,
        value: Box<Node>,
        level: i16,
        filled: i16,
        repeats: i16,
    },
}

/// Levels of a field.
#[derive(Clone, Copy, Default)]
struct Levels {
    definition: i16,
    repetition: i16,
    depth: u32,
}

impl Levels {
    fn within(self, field: &Type) -> Self {
        let info = field.get_basic_info();
        let repetition = info.has_repetition().then(|| info.repetition());
        Self {
            definition: self.definition + i16::from(repetition.is_some_and(is_not_required)),
            repetition: self.repetition + i16::from(repetition == Some(Repetition::REPEATED)),
            depth: self.depth + 1,
        }
    }
}

fn is_not_required(repetition: Repetition) -> bool {
    repetition != Repetition::REQUIRED
}

fn is_repeated(field: &Type) -> bool {
    let info = field.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

/// Returns the fields of a file, by their names as JSON.
///
/// # Errors
/// The columns are nested too deeply.
pub(super) fn fields(schema: &Type) -> Result<Vec<(String, Node)>, String> {
    members(schema, Levels::default(), &mut 0)
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

fn members(group: &Type, levels: Levels, next: &mut usize) -> Result<Vec<(String, Node)>, String> {
    let fields = group.get_fields().iter();
    fields.map(|field| Ok((quoted(field.name()), node(field, levels, next)?))).collect()
}

/// Returns a field below `above`; `next` is its first leaf.
fn node(field: &Type, above: Levels, next: &mut usize) -> Result<Node, String> {
    let levels = above.within(field);
    if levels.depth > DEPTH_MAX {
        return Err(format!("the columns are nested more than {DEPTH_MAX} levels deep"));
    }
    let first = *next;
    if is_repeated(field) {
        // A list without its own group is never NULL.
        let element = Box::new(value(field, levels, next)?);
        let (level, filled, repeats) = (above.definition, levels.definition, levels.repetition);
        let kind = Kind::List { element, level, filled, repeats };
        return Ok(Node { leaves: first..*next, kind });
    }
    value(field, levels, next)
}

/// Same, whatever its repetition is.
fn value(field: &Type, levels: Levels, next: &mut usize) -> Result<Node, String> {
    let first = *next;
    if field.is_primitive() {
        *next += 1;
        return Ok(Node { leaves: first..*next, kind: Kind::Leaf });
    }
    let info = field.get_basic_info();
    let only = match field.get_fields() {
        [only] if is_repeated(only) => Some(only),
        _ => None,
    };
    let is_list = matches!(info.logical_type_ref(), Some(LogicalType::List))
        || info.converted_type() == ConvertedType::LIST;
    let is_map = matches!(info.logical_type_ref(), Some(LogicalType::Map))
        || matches!(info.converted_type(), ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE);
    let kind = match only {
        Some(repeated) if is_list || is_map => {
            let inner = levels.within(repeated);
            let (level, filled, repeats) = (levels.definition, inner.definition, inner.repetition);
            match (is_map, pair(repeated)) {
                (true, Some((key, of))) => {
                    let key = Box::new(node(key, inner, next)?);
                    let value = Box::new(node(of, inner, next)?);
                    Kind::Map { key, value, level, filled, repeats }
                }
                _ => {
                    let element = match of_three(field, repeated) {
                        Some(element) => node(element, inner, next)?,
                        None => value(repeated, inner, next)?,
                    };
                    Kind::List { element: Box::new(element), level, filled, repeats }
                }
            }
        }
        _ => {
            let members = members(field, levels, next)?;
            Kind::Group { members, level: levels.definition }
        }
    };
    Ok(Node { leaves: first..*next, kind })
}

/// Returns the key and the value of a map.
fn pair(repeated: &Type) -> Option<(&Type, &Type)> {
    match repeated.is_group().then(|| repeated.get_fields()) {
        Some([key, value]) if key.is_primitive() && !is_repeated(key) => Some((key, value)),
        _ => None,
    }
}

/// Returns the element of a three-level list; in a two-level list, the repeated field is the
/// element.
fn of_three<'a>(list: &Type, repeated: &'a Type) -> Option<&'a Type> {
    let is_element =
        repeated.name() == "array" || repeated.name() == format!("{}_tuple", list.name());
    match repeated.is_group().then(|| repeated.get_fields()) {
        Some([element]) if !is_element && !is_repeated(element) => Some(element),
        _ => None,
    }
}

impl Node {
    /// Writes the next value of the field. Returns an error in it.
    pub(super) fn write(
        &self,
        leaves: &mut [Column],
        out: &mut String,
        problem: &mut Option<String>,
    ) {
        let first = self.leaves.start;
        match &self.kind {
            Kind::Leaf => leaves[first].take(out, problem),
            Kind::Group { level, .. } | Kind::List { level, .. } | Kind::Map { level, .. }
                if leaves[first].definition() < *level =>
            {
                self.pass_over(leaves);
                out.push_str("null");
            }
            Kind::Group { members, .. } => {
                out.push('{');
                for (at, (name, member)) in members.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    out.push_str(name);
                    out.push(':');
                    member.write(leaves, out, problem);
                }
                out.push('}');
            }
            Kind::List { element, filled, repeats, .. } => {
                out.push('[');
                self.each(leaves, (*filled, *repeats), out, |leaves, out| {
                    element.write(leaves, out, problem);
                });
                out.push(']');
            }
            Kind::Map { key, value, filled, repeats, .. } => {
                out.push('{');
                self.each(leaves, (*filled, *repeats), out, |leaves, out| {
                    let begin = out.len();
                    key.write(leaves, out, problem);
                    if !out[begin..].starts_with('"') {
                        let name = quoted(&out[begin..]);
                        out.replace_range(begin.., &name);
                    }
                    out.push(':');
                    value.write(leaves, out, problem);
                });
                out.push('}');
            }
        }
    }

    /// Writes a list, element by element.
    fn each(
        &self,
        leaves: &mut [Column],
        (filled, repeats): (i16, i16),
        out: &mut String,
        mut write: impl FnMut(&mut [Column], &mut String),
    ) {
        let first = self.leaves.start;
        if leaves[first].definition() < filled {
            return self.pass_over(leaves);
        }
        write(leaves, out);
        while leaves[first].repetition() == Some(repeats) {
            out.push(',');
            write(leaves, out);
        }
    }

    /// Skips the entries of a missing value.
    fn pass_over(&self, leaves: &mut [Column]) {
        for leaf in &mut leaves[self.leaves.clone()] {
            leaf.pass_over();
        }
    }
}
