//! Puts the definitions of referenced types into a schema, so that it stands for itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Maximum nesting of schemas.
const DEPTH_MAX: usize = 128;

/// Types by full name, and those that the schema defines already.
struct Types<'a> {
    known: &'a BTreeMap<String, Value>,
    defined: BTreeSet<String>,
}

/// Returns the schema with the definition of each type where the type is used first.
///
/// # Errors
/// The schemas are nested too deeply.
pub(super) fn inline(schema: &Value, known: &BTreeMap<String, Value>) -> Result<Value, String> {
    let mut types = Types { known, defined: BTreeSet::new() };
    types.schema(schema, "", 0)
}

impl Types<'_> {
    fn schema(&mut self, schema: &Value, namespace: &str, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the schemas are nested more than {DEPTH_MAX} deep"));
        }
        match schema {
            Value::String(name) => self.named(name, namespace, depth),
            Value::Array(branches) => {
                let branches = branches.iter();
                branches.map(|branch| self.schema(branch, namespace, depth + 1)).collect()
            }
            Value::Object(_) => self.object(schema, namespace, depth),
            other => Ok(other.clone()),
        }
    }

    fn named(&mut self, name: &str, namespace: &str, depth: usize) -> Result<Value, String> {
        let full = full_name(name, namespace);
        if self.defined.contains(&full) {
            return Ok(full.into());
        }
        match self.known.get(&full).or_else(|| self.known.get(name)) {
            Some(definition) => self.schema(&definition.clone(), "", depth + 1),
            None => Ok(name.into()),
        }
    }

    fn object(&mut self, schema: &Value, outer: &str, depth: usize) -> Result<Value, String> {
        let mut whole = schema.clone();
        match schema.get("type").and_then(Value::as_str) {
            Some(kind @ ("record" | "error" | "enum" | "fixed")) => {
                let name = schema.get("name").and_then(Value::as_str).unwrap_or_default();
                let stated = schema.get("namespace").and_then(Value::as_str).unwrap_or(outer);
                let full = full_name(name, stated);
                let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
                // Within another schema, a missing namespace would be the one around it.
                whole["namespace"] = json!(namespace);
                self.defined.insert(full.clone());
                if let (true, Some(fields)) = (kind == "record", whole.get_mut("fields")) {
                    for field in fields.as_array_mut().into_iter().flatten() {
                        let inner = field.get("type").cloned().unwrap_or_default();
                        field["type"] = self.schema(&inner, namespace, depth + 1)?;
                    }
                }
            }
            Some(kind @ ("array" | "map")) => {
                let member = if kind == "array" { "items" } else { "values" };
                let inner = schema.get(member).cloned().unwrap_or_default();
                whole[member] = self.schema(&inner, outer, depth + 1)?;
            }
            Some(name) => match self.named(name, outer, depth)? {
                definition @ Value::Object(_) => return Ok(definition),
                name => whole["type"] = name,
            },
            None => {}
        }
        Ok(whole)
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if namespace.is_empty() || name.contains('.') {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}
