//! Checks the schema of a footer before the library decodes it. The library takes a field by its
//! number, whatever its type, reserves memory for as many children as an element announces, and
//! decodes nested groups recursively. Pure.
//!
//! ```text
//!   footer ─► field 1, version ─► field 2, elements ─► the rest, which the library checks
//! ```
//!
//! Source of the fields: `parquet.thrift` of the format.

use formats::thrift::Protocol;
use formats::thrift::read::{Field, Reader, Type};

/// Maximum nesting depth of groups.
const DEPTH_MAX: usize = 64;

/// The field `num_children` of an element.
const CHILDREN: i16 = 5;

/// A result, or why the bytes cannot be the schema of a file.
type Checked<T> = Result<T, Box<dyn std::error::Error>>;

/// The type of a field.
enum Form {
    Is(Type),
    /// A struct with these fields. Others are skipped.
    Of(&'static [(i16, Self)]),
}

use Form::{Is, Of};

const ELEMENT: &[(i16, Form)] = &[
    (1, Is(Type::I32)),
    (2, Is(Type::I32)),
    (3, Is(Type::I32)),
    (4, Is(Type::Binary)),
    (CHILDREN, Is(Type::I32)),
    (6, Is(Type::I32)),
    (7, Is(Type::I32)),
    (8, Is(Type::I32)),
    (9, Is(Type::I32)),
    (10, Of(LOGICAL)),
];

/// The union `LogicalType`. Its other members have no fields.
const LOGICAL: &[(i16, Form)] = &[
    (1, Of(&[])),
    (2, Of(&[])),
    (3, Of(&[])),
    (4, Of(&[])),
    (5, Of(&[(1, Is(Type::I32)), (2, Is(Type::I32))])),
    (6, Of(&[])),
    (7, Of(TIME)),
    (8, Of(TIME)),
    (10, Of(&[(1, Is(Type::Byte)), (2, Is(Type::Implied))])),
    (11, Of(&[])),
    (12, Of(&[])),
    (13, Of(&[])),
    (14, Of(&[])),
    (15, Of(&[])),
    (16, Of(&[(1, Is(Type::Byte))])),
    (17, Of(&[(1, Is(Type::Binary))])),
    (18, Of(&[(1, Is(Type::Binary)), (2, Is(Type::I32))])),
];

/// A time or a timestamp, with its unit.
const TIME: &[(i16, Form)] =
    &[(1, Is(Type::Implied)), (2, Of(&[(1, Of(&[])), (2, Of(&[])), (3, Of(&[]))]))];

/// Checks the schema.
///
/// # Errors
/// Why it cannot be the schema of a file.
pub(super) fn check(footer: &[u8]) -> Checked<()> {
    let mut reader = Reader::new(Protocol::Compact, footer);
    let mut last = 0;
    for (id, kind) in [(1, Type::I32), (2, Type::List)] {
        let field = reader.field(&mut last)?;
        if field.is_none_or(|field| field.id != id || field.kind != kind) {
            return Err("the footer does not begin with version and schema".into());
        }
        if kind == Type::I32 {
            reader.skip(kind)?;
        }
    }
    let (kind, elements) = reader.list()?;
    if kind != Type::Struct {
        return Err("the schema has no elements".into());
    }
    // Children that are still missing, of each group that contains the element.
    let (mut missing, mut announced) = (Vec::new(), 0);
    for _ in 0..elements {
        let children = element(&mut reader)?;
        while missing.last() == Some(&0) {
            missing.pop();
        }
        if let Some(left) = missing.last_mut() {
            *left -= 1;
        }
        let children = usize::try_from(children).unwrap_or(usize::MAX);
        announced = children.saturating_add(announced);
        if announced >= elements && children > 0 {
            return Err(format!(
                "the schema has {elements} elements, but announces {announced} children"
            )
            .into());
        }
        if children > 0 {
            missing.push(children);
        }
        if missing.len() > DEPTH_MAX {
            return Err(format!("the columns are nested more than {DEPTH_MAX} levels deep").into());
        }
    }
    Ok(())
}

/// Reads an element and returns the number of its children.
fn element(reader: &mut Reader<'_>) -> Checked<i32> {
    let (mut last, mut children) = (0, 0);
    while let Some(field) = reader.field(&mut last)? {
        if (field.id, field.kind) == (CHILDREN, Type::I32) {
            children = reader.i32()?;
        } else {
            value(reader, field, ELEMENT)?;
        }
    }
    Ok(children)
}

/// Reads the value of a field, if it has the type of `fields`.
fn value(
    reader: &mut Reader<'_>,
    Field { id, kind }: Field,
    fields: &'static [(i16, Form)],
) -> Checked<()> {
    let form = fields.iter().find(|(known, _)| *known == id).map(|(_, form)| form);
    match form {
        Some(Of(fields)) if kind == Type::Struct => {
            let mut last = 0;
            while let Some(field) = reader.field(&mut last)? {
                value(reader, field, fields)?;
            }
            Ok(())
        }
        Some(Is(expected)) if *expected == kind => Ok(reader.skip(kind)?),
        None => Ok(reader.skip(kind)?),
        Some(_) => Err(format!(
            "the file is damaged: the field {id} of its metadata has an unexpected type"
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer up to its schema, with groups that announce these numbers of children.
    fn footer(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, 0x02, 0x19, 0xfc];
        let mut size = children.len();
        while size > 0x7f {
            bytes.push(size as u8 | 0x80);
            size >>= 7;
        }
        bytes.push(size as u8);
        for count in children {
            // A name, and the number of children.
            bytes.extend([0x48, 0x01, b'a', 0x15, count << 1, 0x00]);
        }
        bytes
    }

    #[test]
    fn schemas_that_announce_more_than_they_have_are_rejected() {
        check(&footer(&[2, 1, 0, 0])).unwrap();
        check(&footer(&[1, 1, 1, 0])).unwrap();
        let problem = check(&footer(&[2, 2, 0, 0])).unwrap_err().to_string();
        assert!(problem.contains("announces 4 children"), "{problem}");
        let negative = [0x15, 0x02, 0x19, 0x1c, 0x48, 0x01, b'a', 0x15, 0x01, 0x00];
        assert!(check(&negative).is_err());
    }

    #[test]
    fn groups_are_nested_up_to_a_limit() {
        let chain = |groups| [vec![1; groups], vec![0]].concat();
        check(&footer(&chain(DEPTH_MAX))).unwrap();
        let problem = check(&footer(&chain(DEPTH_MAX + 1))).unwrap_err().to_string();
        assert!(problem.contains("more than 64 levels deep"), "{problem}");
    }

    #[test]
    fn fields_of_another_type_are_rejected() {
        // The number of children with 64 bits, which the library reads as one with 32.
        let wide = [0x15, 0x02, 0x19, 0x1c, 0x48, 0x01, b'a', 0x16, 0x02, 0x00];
        let problem = check(&wide).unwrap_err().to_string();
        assert!(problem.contains("field 5"), "{problem}");
        assert!(check(&[0x19, 0x0c, 0x00]).is_err(), "a schema without a version");
    }
}
