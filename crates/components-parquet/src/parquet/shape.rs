//! The shape of a column: a value, or values in lists, structs and maps; and its schema in a file.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ::parquet::basic::{LogicalType, Repetition, Type as Physical};
use ::parquet::schema::types::{Type, TypePtr};

use super::column::Column;
use super::kind::{ColumnType, Kind};

/// A value with a name.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) required: bool,
    /// Its id in the file.
    pub(super) id: i32,
}

/// The type of a field.
#[derive(Debug)]
pub(super) enum Shape {
    /// Values, with the index of their buffer.
    Leaf(Kind, usize),
    /// A list of the element.
    List(Box<Field>),
    /// Fields with different names.
    Struct(Vec<Field>),
    /// Pairs of key and value.
    Map(Box<Field>, Box<Field>),
}

/// A column of Parquet: the values of one field, wherever it is.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) kind: Kind,
    /// Number of optional and repeated fields around a value, itself included.
    pub(super) max_def: i16,
    /// Number of repeated fields around it.
    pub(super) max_rep: i16,
    /// Length of its path in the file.
    pub(super) path_bytes: u64,
}

impl Shape {
    /// Returns the Hive name of the type.
    pub(super) fn in_table(&self) -> String {
        match self {
            Self::Leaf(kind, _) => kind.in_table(),
            Self::List(item) => format!("array<{}>", item.shape.in_table()),
            Self::Map(key, value) => {
                format!("map<{},{}>", key.shape.in_table(), value.shape.in_table())
            }
            Self::Struct(fields) => {
                let field = |it: &Field| {
                    format!("{}:{}", it.name.to_ascii_lowercase(), it.shape.in_table())
                };
                format!("struct<{}>", fields.iter().map(field).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf(kind, _) => kind.fmt(f),
            Self::List(item) => write!(f, "list<{}>", item.shape),
            Self::Map(key, value) => write!(f, "map<{}, {}>", key.shape, value.shape),
            Self::Struct(fields) => {
                for (at, Field { name, shape, .. }) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {shape}", if at == 0 { "struct<" } else { ", " })?;
                }
                f.write_str(">")
            }
        }
    }
}

impl Field {
    /// Returns the fields within it.
    pub(super) fn inner_mut(&mut self) -> Vec<&mut Self> {
        match &mut self.shape {
            Shape::Leaf(..) => Vec::new(),
            Shape::List(item) => vec![item],
            Shape::Struct(fields) => fields.iter_mut().collect(),
            Shape::Map(key, value) => vec![key, value],
        }
    }

    fn entry(&self) -> TypePtr {
        let repetition = if self.required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        let (logical, fields) = match &self.shape {
            Shape::Leaf(kind, _) => return Arc::new(self.leaf(*kind, repetition)),
            Shape::Struct(fields) => (None, fields.iter().map(Self::entry).collect()),
            Shape::List(item) => {
                (Some(LogicalType::List), vec![repeated("list", vec![item.entry()])])
            }
            Shape::Map(key, value) => {
                let pair = repeated("key_value", vec![key.entry(), value.entry()]);
                (Some(LogicalType::Map), vec![pair])
            }
        };
        let group = Type::group_type_builder(&self.name).with_id(Some(self.id));
        let group = group.with_repetition(repetition).with_logical_type(logical);
        Arc::new(group.with_fields(fields).build().expect("a group takes any fields"))
    }

    fn leaf(&self, kind: Kind, repetition: Repetition) -> Type {
        let physical = kind.physical();
        let mut field = Type::primitive_type_builder(&self.name, physical)
            .with_id(Some(self.id))
            .with_repetition(repetition)
            .with_logical_type(kind.logical());
        if let Kind::Decimal { precision, scale } = kind {
            field = field.with_precision(precision.into()).with_scale(scale.into());
        }
        if physical == Physical::FIXED_LEN_BYTE_ARRAY {
            field = field.with_length(kind.fixed_bytes() as i32);
        }
        field.build().expect("types and digits were checked")
    }

    fn leaves(&self, around: &Leaf, out: &mut Vec<Leaf>) {
        let mut here = Leaf {
            max_def: around.max_def + i16::from(!self.required),
            path_bytes: around.path_bytes + self.name.len() as u64 + 1,
            ..around.clone()
        };
        match &self.shape {
            Shape::Leaf(kind, _) => out.push(Leaf { kind: *kind, ..here }),
            Shape::Struct(fields) => fields.iter().for_each(|field| field.leaves(&here, out)),
            Shape::List(_) | Shape::Map(..) => {
                here.max_def += 1;
                here.max_rep += 1;
                here.path_bytes += "key_value.".len() as u64;
                match &self.shape {
                    Shape::List(item) => item.leaves(&here, out),
                    Shape::Map(key, value) => {
                        key.leaves(&here, out);
                        value.leaves(&here, out);
                    }
                    _ => {}
                }
            }
        }
    }
}

fn repeated(name: &str, fields: Vec<TypePtr>) -> TypePtr {
    let group = Type::group_type_builder(name).with_repetition(Repetition::REPEATED);
    Arc::new(group.with_fields(fields).build().expect("a group takes any fields"))
}

/// Numbers the leaves of columns, and gives ids to the fields within them: the next ones that no
/// column has.
pub(super) fn number(columns: Vec<&mut Field>) {
    let used: BTreeSet<i32> = columns.iter().map(|field| field.id).collect();
    let mut ids = (columns.len() as i32 + 1..).filter(|id| !used.contains(id));
    let mut leaves = 0;
    let mut next: Vec<&mut Field> = columns.into_iter().rev().collect();
    while let Some(field) = next.pop() {
        if field.id == 0 {
            field.id = ids.next().expect("there are fewer fields than numbers");
        }
        if let Shape::Leaf(_, index) = &mut field.shape {
            *index = leaves;
            leaves += 1;
        }
        next.extend(field.inner_mut().into_iter().rev());
    }
}

/// Returns the leaves of the columns, in order.
pub(super) fn leaves(columns: &[Column]) -> Vec<Leaf> {
    let kind = Kind::Plain(ColumnType::Bool);
    let root = Leaf { kind, max_def: 0, max_rep: 0, path_bytes: 0 };
    let mut leaves = Vec::new();
    columns.iter().for_each(|column| column.field.leaves(&root, &mut leaves));
    leaves
}

/// Returns the schema of a file.
pub(super) fn schema(columns: &[Column]) -> TypePtr {
    let fields = columns.iter().map(|column| column.field.entry());
    let schema = Type::group_type_builder("event").with_fields(fields.collect());
    Arc::new(schema.build().expect("a group takes any columns"))
}
