//! A schema of Avro, and whether bytes are a datum of it.
//!
//! The schema is compiled once into a table of nodes. A datum is walked through it without an
//! allocation and without values being made of it; a library's decoder makes a tree for each. What
//! a reader would stumble over is refused: also the stated bytes of a block, which readers that
//! leave a field out skip by.
//!
//! Layout: Avro specification 1.11, "Schema Declaration" and "Binary Encoding". Logical types,
//! defaults, aliases, order and docs do not change what a datum looks like, and are not looked at.

use std::collections::HashMap;

use serde_json::Value;

use super::Malformed;
use super::datum::Reader;

/// Values within values at most, in a datum.
const DEPTH_MAX: usize = 64;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    nodes: Vec<Node>,
    root: usize,
}

/// A type; the others that it has are indices of nodes.
#[derive(Debug, Clone)]
enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Bytes,
    Text,
    /// So many bytes: `fixed`, `float` and `double`.
    Fixed(usize),
    /// So many symbols.
    Enum(usize),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<usize>),
}

/// The type of this name, where it needs no more than its name.
fn primitive(name: &str) -> Option<Node> {
    Some(match name {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "int" => Node::Int,
        "long" => Node::Long,
        "float" => Node::Fixed(4),
        "double" => Node::Fixed(8),
        "bytes" => Node::Bytes,
        "string" => Node::Text,
        _ => return None,
    })
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(schema: &Value) -> Result<Self, String> {
        let mut compiler = Compiler { nodes: Vec::new(), names: HashMap::new() };
        let root = compiler.node(schema, "")?;
        let schema = Self { nodes: compiler.nodes, root };
        let repeated = schema.nodes.iter().filter_map(|node| match node {
            Node::Array(items) => Some(*items),
            _ => None,
        });
        match repeated.into_iter().any(|items| schema.can_be_empty(items, 0)) {
            true => Err("an array has items without bytes, so that nothing limits it".to_owned()),
            false => Ok(schema),
        }
    }

    /// Whether a value of this node can have no bytes.
    fn can_be_empty(&self, node: usize, depth: usize) -> bool {
        match &self.nodes[node] {
            Node::Null | Node::Fixed(0) => true,
            // A record that holds itself has no end, and no datum.
            Node::Record(fields) => {
                depth < DEPTH_MAX && fields.iter().all(|field| self.can_be_empty(*field, depth + 1))
            }
            _ => false,
        }
    }

    /// Checks that these bytes are one datum, and no more.
    ///
    /// # Errors
    /// They are not.
    pub fn check(&self, datum: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(datum);
        self.walk(self.root, &mut reader, DEPTH_MAX)?;
        if reader.rest().is_empty() { Ok(()) } else { Err(Malformed::Rest) }
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
            Node::Fixed(bytes) => reader.take(*bytes).map(drop),
            Node::Enum(symbols) => reader.branch(*symbols).map(drop),
            Node::Union(branches) => {
                let branch = reader.branch(branches.len())?;
                self.walk(branches[branch], reader, depth)
            }
            Node::Record(fields) => {
                fields.iter().try_for_each(|field| self.walk(*field, reader, depth))
            }
            Node::Array(items) => blocks(reader, |reader| self.walk(*items, reader, depth)),
            Node::Map(values) => blocks(reader, |reader| {
                reader.text()?;
                self.walk(*values, reader, depth)
            }),
        }
    }
}

/// The blocks of an array or a map.
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
    /// By full name.
    names: HashMap<String, usize>,
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
                let kind = text(schema, "type")?;
                match kind {
                    "record" | "enum" | "fixed" => self.complex(kind, schema, namespace),
                    "array" => {
                        let items = self.node(member(schema, "items")?, namespace)?;
                        Ok(self.add(Node::Array(items)))
                    }
                    "map" => {
                        let values = self.node(member(schema, "values")?, namespace)?;
                        Ok(self.add(Node::Map(values)))
                    }
                    other => self.named(other, namespace),
                }
            }
            other => Err(format!("`{other}` is no schema")),
        }
    }

    /// A primitive type, or one that stands further up.
    fn named(&mut self, name: &str, namespace: &str) -> Result<usize, String> {
        if let Some(node) = primitive(name) {
            return Ok(self.add(node));
        }
        let known = self.names.get(&full_name(name, namespace));
        known.copied().ok_or_else(|| format!("there is no type `{name}` further up"))
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<usize, String> {
        if branches.is_empty() {
            return Err("a union has no branch".to_owned());
        }
        let mut nodes = Vec::new();
        let mut unnamed = Vec::new();
        for branch in branches {
            let kind = match branch {
                Value::Array(_) => return Err("a union stands in a union".to_owned()),
                Value::Object(_) => text(branch, "type")?,
                _ => branch.as_str().unwrap_or_default(),
            };
            let is_named = matches!(kind, "record" | "enum" | "fixed");
            if !is_named && unnamed.contains(&kind) {
                return Err(format!("a union has `{kind}` twice"));
            }
            unnamed.push(kind);
            nodes.push(self.node(branch, namespace)?);
        }
        Ok(self.add(Node::Union(nodes)))
    }

    /// A type with a name.
    fn complex(&mut self, kind: &str, schema: &Value, outer: &str) -> Result<usize, String> {
        let name = text(schema, "name")?;
        let stated = schema.get("namespace").and_then(Value::as_str).unwrap_or(outer);
        let full = full_name(name, stated);
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        if !full.split('.').all(is_name) || primitive(&full).is_some() {
            return Err(format!("`{full}` is no name of a type"));
        }
        if self.names.contains_key(&full) {
            return Err(format!("the type `{full}` is there twice"));
        }
        let node = match kind {
            "fixed" => {
                let size = member(schema, "size")?.as_u64();
                let size = size.filter(|size| *size <= i32::MAX as u64);
                let size = size.ok_or_else(|| format!("`size` of `{full}` is no size"))?;
                Node::Fixed(size as usize)
            }
            "enum" => Node::Enum(names(schema, "symbols", &full, |symbol| Some(symbol))?),
            _ => Node::Record(Vec::new()),
        };
        let is_record = matches!(node, Node::Record(_));
        let number = self.add(node);
        self.names.insert(full.clone(), number);
        if is_record {
            names(schema, "fields", &full, |field| field.get("name"))?;
            let mut fields = Vec::new();
            for field in member(schema, "fields")?.as_array().into_iter().flatten() {
                fields.push(self.node(member(field, "type")?, &namespace)?);
            }
            self.nodes[number] = Node::Record(fields);
        }
        Ok(number)
    }
}

/// How many elements a list has, each with a name of its own.
fn names(
    schema: &Value,
    list: &str,
    full: &str,
    name_of: impl Fn(&Value) -> Option<&Value>,
) -> Result<usize, String> {
    let elements = member(schema, list)?.as_array();
    let elements = elements.ok_or_else(|| format!("`{list}` of `{full}` is no list"))?;
    let mut seen = std::collections::HashSet::new();
    for element in elements {
        let name = name_of(element).and_then(Value::as_str).unwrap_or_default();
        if !is_name(name) {
            return Err(format!("`{name}` in `{list}` of `{full}` is no name"));
        }
        if !seen.insert(name) {
            return Err(format!("`{name}` is in `{list}` of `{full}` twice"));
        }
    }
    Ok(elements.len())
}

fn member<'a>(schema: &'a Value, name: &str) -> Result<&'a Value, String> {
    schema.get(name).ok_or_else(|| format!("`{name}` is missing in {schema}"))
}

fn text<'a>(schema: &'a Value, name: &str) -> Result<&'a str, String> {
    let text = member(schema, name)?.as_str();
    text.ok_or_else(|| format!("`{name}` is no text in {schema}"))
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
