//! Avro schemas, and validation of bytes against them.
//!
//! A schema is compiled once into a table of nodes. Validation walks a datum along the table
//! without allocations; a library's decoder would build a tree for each datum. It rejects
//! everything that a reader could fail on, including a wrong byte size of a block, which readers
//! use to skip fields. The time depends only on the number of bytes: types without bytes are not in
//! the table.
//!
//! Layout: Avro specification 1.11, "Schema Declaration" and "Binary Encoding". Defaults, aliases,
//! order and docs do not affect the encoding and are ignored. Logical types define the meaning of a
//! value ([`value`]).

mod fingerprint;
mod rows;
pub mod value;

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use fingerprint::Fingerprint;
use value::Logical;

use super::datum::Reader;
use super::{Malformed, ODD_NAME};

/// Header with the schema's fingerprint in Flume's events.
pub const HASH_HEADER: &str = "flume.avro.schema.hash";
/// Header with the schema's text.
pub const LITERAL_HEADER: &str = "flume.avro.schema.literal";

/// Maximum nesting depth of a datum.
const DEPTH_MAX: usize = 64;
/// Maximum length of a type's name: each reference costs as much.
const NAME_BYTES_MAX: usize = 4096;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    nodes: Vec<Node>,
    /// Logical types of nodes.
    logical: HashMap<usize, Logical>,
    /// Full names of nodes.
    names: HashMap<usize, String>,
    root: usize,
    fingerprint: u64,
}

/// A type; nested types are indexes of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// No bytes: also a record or a `fixed` of size 0.
    Null,
    Boolean,
    Int,
    Long,
    Bytes,
    Text,
    Float,
    Double,
    /// A fixed number of bytes.
    Fixed(usize),
    /// Symbols of an enum.
    Enum(Vec<Box<str>>),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    /// Fields with bytes, and their names.
    Record(Vec<(Box<str>, usize)>),
}

fn primitive(name: &str) -> Option<Node> {
    Some(match name {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "int" => Node::Int,
        "long" => Node::Long,
        "float" => Node::Float,
        "double" => Node::Double,
        "bytes" => Node::Bytes,
        "string" => Node::Text,
        _ => return None,
    })
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// Returns a description of the problem.
    pub fn parse(schema: &Value) -> Result<Self, String> {
        Self::compile(schema, true)
    }

    /// Compiles the schema of a file. Its names may have any characters: Avro's own library accepts
    /// such files of other programs.
    ///
    /// # Errors
    /// Returns a description of the problem.
    pub fn of_file(schema: &Value) -> Result<Self, String> {
        Self::compile(schema, false)
    }

    fn compile(schema: &Value, checks_names: bool) -> Result<Self, String> {
        let mut compiler = Compiler {
            nodes: Vec::new(),
            logical: HashMap::new(),
            names: HashMap::new(),
            print: Fingerprint::default(),
            checks_names,
        };
        let root = compiler.node(schema, "")?;
        let Compiler { nodes, logical, print, names, .. } = compiler;
        let names = names.into_iter().map(|(name, node)| (node, name)).collect();
        Ok(Self { nodes, logical, names, root, fingerprint: print.value() })
    }

    /// Returns the CRC-64-AVRO of its canonical form, in hexadecimal like Avro's library: lowest
    /// byte first.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", self.fingerprint.swap_bytes())
    }

    /// Returns true if its values have no bytes.
    pub fn is_empty(&self) -> bool {
        self.nodes[self.root] == Node::Null
    }

    /// Checks that these bytes are exactly one datum.
    ///
    /// # Errors
    /// Fails if they are not.
    pub fn check(&self, datum: &[u8]) -> Result<(), Malformed> {
        let length = self.first(datum)?;
        if length == datum.len() { Ok(()) } else { Err(Malformed::Rest) }
    }

    /// Returns the length of the first datum in these bytes.
    ///
    /// # Errors
    /// Fails if they do not begin with a datum.
    pub fn first(&self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut reader = Reader::new(bytes);
        self.walk(self.root, &mut reader, DEPTH_MAX)?;
        Ok(bytes.len() - reader.rest().len())
    }

    fn walk(&self, node: usize, reader: &mut Reader<'_>, depth: usize) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed::Depth)?;
        match &self.nodes[node] {
            Node::Null => Ok(()),
            Node::Boolean => reader.boolean().map(drop),
            Node::Int => match i32::try_from(reader.long()?) {
                Ok(_) => Ok(()),
                Err(_) => Err(Malformed::Number),
            },
            Node::Long => reader.long().map(drop),
            Node::Bytes => reader.bytes().map(drop),
            Node::Text => reader.text().map(drop),
            Node::Float => reader.take(4).map(drop),
            Node::Double => reader.take(8).map(drop),
            Node::Fixed(bytes) => reader.take(*bytes).map(drop),
            Node::Enum(symbols) => reader.branch(symbols.len()).map(drop),
            Node::Union(branches) => {
                let branch = reader.branch(branches.len())?;
                self.walk(branches[branch], reader, depth)
            }
            Node::Record(fields) => {
                fields.iter().try_for_each(|(_, field)| self.walk(*field, reader, depth))
            }
            Node::Array(items) => blocks(reader, |reader| self.walk(*items, reader, depth)),
            Node::Map(values) => blocks(reader, |reader| {
                reader.text()?;
                self.walk(*values, reader, depth)
            }),
        }
    }
}

/// Checks the blocks of an array or a map.
fn blocks<'a>(
    reader: &mut Reader<'a>,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    loop {
        let (count, bytes) = reader.sized_block()?;
        if count == 0 {
            return Ok(());
        }
        let before = reader.rest().len();
        for _ in 0..count {
            item(reader)?;
        }
        if bytes.is_some_and(|bytes| bytes != before - reader.rest().len()) {
            return Err(Malformed::Length);
        }
    }
}

struct Compiler {
    nodes: Vec<Node>,
    logical: HashMap<usize, Logical>,
    /// Types by full name.
    names: HashMap<String, usize>,
    /// Fingerprint of the canonical form so far.
    print: Fingerprint,
    /// True if names must consist of letters, digits and `_`.
    checks_names: bool,
}

impl Compiler {
    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn node(&mut self, schema: &Value, namespace: &str) -> Result<usize, String> {
        match schema {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(_) => {
                let known = self.nodes.len();
                let node = self.object(schema, namespace)?;
                // A reference to an earlier type adds no logical type.
                self.logical.extend((node >= known).then_some(node).zip(Logical::of(schema)));
                Ok(node)
            }
            other => Err(format!("`{other}` is not an Avro schema: a name, list or object")),
        }
    }

    fn object(&mut self, schema: &Value, namespace: &str) -> Result<usize, String> {
        match text(schema, "type")? {
            kind @ ("record" | "enum" | "fixed") => self.complex(kind, schema, namespace),
            "array" => {
                self.print.add(&[r#"{"type":"array","items":"#]);
                let items = self.node(member(schema, "items")?, namespace)?;
                self.print.add(&["}"]);
                if self.nodes[items] == Node::Null {
                    let problem = "an array whose items have no bytes is not supported";
                    return Err(problem.to_owned());
                }
                Ok(self.add(Node::Array(items)))
            }
            "map" => {
                self.print.add(&[r#"{"type":"map","values":"#]);
                let values = self.node(member(schema, "values")?, namespace)?;
                self.print.add(&["}"]);
                Ok(self.add(Node::Map(values)))
            }
            other => self.named(other, namespace),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<usize, String> {
        if let Some(node) = primitive(name) {
            self.print.add(&["\"", name, "\""]);
            return Ok(self.add(node));
        }
        let full = full_name(name, namespace);
        let known = self.names.get(&full).copied();
        self.print.add(&["\"", &full, "\""]);
        known.ok_or_else(|| format!("the type `{name}` is not defined before its use"))
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<usize, String> {
        if branches.is_empty() {
            return Err("a union has no types".to_owned());
        }
        let mut nodes = Vec::new();
        let mut unnamed = Vec::new();
        for branch in branches {
            let kind = match branch {
                Value::Array(_) => return Err("a union contains a union".to_owned()),
                Value::Object(_) => text(branch, "type")?,
                _ => branch.as_str().unwrap_or_default(),
            };
            let is_named = matches!(kind, "record" | "enum" | "fixed");
            if !is_named && unnamed.contains(&kind) {
                return Err(format!("a union has `{kind}` twice"));
            }
            unnamed.push(kind);
            self.print.add(&[if nodes.is_empty() { "[" } else { "," }]);
            nodes.push(self.node(branch, namespace)?);
        }
        self.print.add(&["]"]);
        Ok(self.add(Node::Union(nodes)))
    }

    fn complex(&mut self, kind: &str, schema: &Value, outer: &str) -> Result<usize, String> {
        let name = text(schema, "name")?;
        let stated = schema.get("namespace").and_then(Value::as_str).unwrap_or(outer);
        let full = full_name(name, stated);
        if full.len() > NAME_BYTES_MAX {
            return Err(format!("the name of a type has more than {NAME_BYTES_MAX} bytes"));
        }
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let is_odd = self.checks_names && !full.split('.').all(is_name);
        if is_odd || primitive(&full).is_some() {
            return Err(format!("the type name `{full}` {ODD_NAME}"));
        }
        if self.names.contains_key(&full) {
            return Err(format!("the type `{full}` is defined twice"));
        }
        self.print.add(&[r#"{"name":""#, &full, r#"","type":""#, kind, "\","]);
        let number = self.add(Node::Record(Vec::new()));
        self.names.insert(full.clone(), number);
        self.nodes[number] = match kind {
            "fixed" => self.fixed(schema, &full)?,
            "enum" => self.symbols(schema, &full)?,
            _ => self.record(schema, &full, &namespace)?,
        };
        self.print.add(&["}"]);
        Ok(number)
    }

    fn fixed(&mut self, schema: &Value, full: &str) -> Result<Node, String> {
        let size = member(schema, "size")?.as_u64();
        let size = size.filter(|size| *size <= i32::MAX as u64);
        let size = size.ok_or_else(|| format!("`size` of `{full}` must be a number of bytes"))?;
        self.print.add(&[r#""size":"#, &size.to_string()]);
        Ok(if size == 0 { Node::Null } else { Node::Fixed(size as usize) })
    }

    fn symbols(&mut self, schema: &Value, full: &str) -> Result<Node, String> {
        let symbols = self.listed(schema, "symbols", full, Some)?;
        self.print.add(&[r#""symbols":["#]);
        for (number, (_, symbol)) in symbols.iter().enumerate() {
            self.print.add(&[if number > 0 { ",\"" } else { "\"" }, symbol, "\""]);
        }
        self.print.add(&["]"]);
        Ok(Node::Enum(symbols.into_iter().map(|(_, symbol)| symbol.into()).collect()))
    }

    fn record(&mut self, schema: &Value, full: &str, namespace: &str) -> Result<Node, String> {
        let fields = self.listed(schema, "fields", full, |field| field.get("name"))?;
        self.print.add(&[r#""fields":["#]);
        let mut nodes = Vec::new();
        for (number, (field, name)) in fields.iter().enumerate() {
            let before = if number > 0 { "," } else { "" };
            self.print.add(&[before, r#"{"name":""#, name, r#"","type":"#]);
            let node = self.node(member(field, "type")?, namespace)?;
            self.print.add(&["}"]);
            if self.nodes[node] != Node::Null {
                nodes.push(((*name).into(), node));
            }
        }
        self.print.add(&["]"]);
        Ok(if nodes.is_empty() { Node::Null } else { Node::Record(nodes) })
    }

    fn listed<'a>(
        &self,
        schema: &'a Value,
        list: &str,
        full: &str,
        name_of: impl Fn(&'a Value) -> Option<&'a Value>,
    ) -> Result<Vec<(&'a Value, &'a str)>, String> {
        let elements = member(schema, list)?.as_array();
        let elements = elements.ok_or_else(|| format!("`{list}` of `{full}` is not a list"))?;
        let (mut seen, mut named) = (HashSet::new(), Vec::new());
        for element in elements {
            let name = name_of(element).and_then(Value::as_str).unwrap_or_default();
            if name.is_empty() || self.checks_names && !is_name(name) {
                return Err(format!("`{name}` in `{list}` of `{full}` {ODD_NAME}"));
            }
            if !seen.insert(name) {
                return Err(format!("`{name}` is in `{list}` of `{full}` twice"));
            }
            named.push((element, name));
        }
        Ok(named)
    }
}

fn member<'a>(schema: &'a Value, name: &str) -> Result<&'a Value, String> {
    schema.get(name).ok_or_else(|| format!("`{name}` is missing in {schema}"))
}

fn text<'a>(schema: &'a Value, name: &str) -> Result<&'a str, String> {
    let text = member(schema, name)?.as_str();
    text.ok_or_else(|| format!("`{name}` is not a string in {schema}"))
}

fn full_name(name: &str, namespace: &str) -> String {
    if namespace.is_empty() || name.contains('.') {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    begins && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests;
