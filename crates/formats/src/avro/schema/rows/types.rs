//! The types of Avro values in typed rows.

use ::rows::{Column, Type};

use super::super::value::Logical;
use super::super::{Node, Schema};
use super::Misfit;

/// Maximum number of types, as in the schema of a row: a type that is used twice counts twice.
const TYPES_MAX: usize = 4096;
/// Maximum depth of types, as in the schema of a row.
const DEPTH_MAX: usize = 32;
/// Parts of a `duration`.
const PARTS: [&str; 3] = ["months", "days", "millis"];

/// Types of rows for the nodes of a schema.
pub(super) struct Types<'s> {
    schema: &'s Schema,
    /// The nodes around the current one.
    open: Vec<usize>,
    count: usize,
}

impl<'s> Types<'s> {
    pub(super) fn new(schema: &'s Schema) -> Self {
        Self { schema, open: vec![schema.root], count: 0 }
    }

    pub(super) fn fields(&mut self, fields: &[(Box<str>, usize)]) -> Result<Vec<Column>, Misfit> {
        let mut columns = Vec::with_capacity(fields.len());
        for (name, node) in fields {
            let kind = self.kind(*node).map_err(|misfit| misfit.within(name))?;
            columns.push(Column { name: name.to_string(), kind });
        }
        Ok(columns)
    }

    fn kind(&mut self, node: usize) -> Result<Type, Misfit> {
        self.count += 1;
        if self.count > TYPES_MAX {
            return Err("its row would have more than 4096 types".into());
        }
        if self.open.contains(&node) {
            return Err("a record that contains itself does not fit into a typed row".into());
        }
        if self.open.len() > DEPTH_MAX + 1 {
            return Err("its row would have types nested more than 32 deep".into());
        }
        self.open.push(node);
        let kind = self.inner(node);
        self.open.pop();
        kind
    }

    fn inner(&mut self, node: usize) -> Result<Type, Misfit> {
        let schema = self.schema;
        let logical = schema.logical.get(&node);
        Ok(match &schema.nodes[node] {
            Node::Null => return Err("the type `null` is not supported here".into()),
            Node::Boolean => Type::Bool,
            Node::Int => match logical {
                Some(Logical::Date) => Type::Date,
                Some(Logical::TimeOfDay(_)) => Type::Time,
                _ => Type::Int32,
            },
            Node::Long => match logical {
                Some(Logical::Timestamp(_)) => Type::TimestampUtc,
                Some(Logical::LocalTimestamp(_)) => Type::Timestamp,
                Some(Logical::TimeOfDay(_)) => Type::Time,
                _ => Type::Int64,
            },
            Node::Float => Type::Float32,
            Node::Double => Type::Float64,
            Node::Text => match logical {
                Some(Logical::TextUuid) => Type::Uuid,
                _ => Type::Text,
            },
            Node::Enum(_) => Type::Text,
            Node::Bytes | Node::Fixed(_) => match logical {
                Some(Logical::Decimal { precision: 0, .. }) => {
                    return Err(
                        "a decimal must have a `precision` from 1 to 76, and a `scale` up to it"
                            .into(),
                    );
                }
                Some(Logical::Decimal { precision, scale }) => {
                    Type::Decimal { precision: *precision, scale: *scale }
                }
                Some(Logical::Uuid) => Type::Uuid,
                Some(Logical::Duration) => {
                    let part = |name: &str| Column { name: name.to_owned(), kind: Type::Uint32 };
                    Type::Struct(PARTS.map(part).to_vec())
                }
                Some(Logical::BigDecimal) => Type::Text,
                _ => Type::Bytes,
            },
            Node::Array(item) => {
                let item = self.kind(*item).map_err(|misfit| misfit.within("item"))?;
                Type::List(Box::new(item))
            }
            Node::Map(value) => {
                let value = self.kind(*value).map_err(|misfit| misfit.within("value"))?;
                Type::Map { key: Box::new(Type::Text), value: Box::new(value) }
            }
            Node::Record(fields) => Type::Struct(self.fields(fields)?),
            Node::Union(branches) => self.union(branches)?,
        })
    }

    fn union(&mut self, branches: &[usize]) -> Result<Type, Misfit> {
        let is_null = |branch: &usize| self.schema.nodes[*branch] == Node::Null;
        let (nulls, values): (Vec<usize>, Vec<usize>) = branches.iter().partition(|it| is_null(it));
        if nulls.len() > 1 {
            return Err(
                "a union has several types without data, which a NULL cannot distinguish".into()
            );
        }
        match &*values {
            [] => Err("the type `null` is not supported here".into()),
            [value] => self.kind(*value),
            values => {
                let mut fields: Vec<Column> = Vec::new();
                for value in values {
                    let name = self.schema.branch_name(*value);
                    if fields.iter().any(|field| field.name == name) {
                        return Err(format!("a union has two types with the name `{name}`").into());
                    }
                    let kind = self.kind(*value).map_err(|misfit| misfit.within(&name))?;
                    fields.push(Column { name, kind });
                }
                Ok(Type::Struct(fields))
            }
        }
    }
}

impl Schema {
    /// Returns the name of a type without its namespace.
    fn branch_name(&self, node: usize) -> String {
        let name = match &self.nodes[node] {
            Node::Null => "null",
            Node::Boolean => "boolean",
            Node::Int => "int",
            Node::Long => "long",
            Node::Float => "float",
            Node::Double => "double",
            Node::Bytes => "bytes",
            Node::Text => "string",
            Node::Array(_) => "array",
            Node::Map(_) => "map",
            Node::Union(_) => "union",
            Node::Fixed(_) | Node::Enum(_) | Node::Record(_) => {
                let full = self.names.get(&node).map_or("", |name| name);
                full.rsplit_once('.').map_or(full, |(_, name)| name)
            }
        };
        name.to_owned()
    }
}
