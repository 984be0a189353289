//! Commands that succeed or fail, as conditions of the interceptor `filter`.

use serde_json::{Value, json};

use super::BODY;
use crate::hocon::Node;

/// Returns conditions that must all be true for the command to succeed. `name` is the command.
///
/// # Errors
/// There is no equivalent condition: the reason, for the user.
pub(super) fn of(name: &str, arguments: &Node) -> Result<Vec<Value>, String> {
    match name {
        "contains" | "equals" => {
            let fields = arguments.entries();
            fields.iter().map(|(field, values)| of_field(name, field, values)).collect()
        }
        "not" => {
            let [(name, arguments)] = arguments.entries() else {
                return Err("`not` must contain exactly one command".to_owned());
            };
            let [one] = &mut of(name, arguments)?[..] else {
                return Err("`not` is supported only for a condition on one field".to_owned());
            };
            let mut turned = one.take();
            turned["not"] = json!(turned["not"] != json!(true));
            Ok(vec![turned])
        }
        "true" => Ok(Vec::new()),
        other => Err(format!(
            "the condition `{other}` is not supported; use the interceptor `filter` or `route` \
             instead of the morphline"
        )),
    }
}

fn of_field(name: &str, field: &str, values: &Node) -> Result<Value, String> {
    if field == BODY {
        return Err("`_attachment_body` cannot be compared with text; use `readLine` first and \
                    compare `message`"
            .to_owned());
    }
    let values: Option<Vec<&str>> = values.items().iter().map(Node::text).collect();
    let values = values.ok_or("the values must be text")?;
    if values.iter().any(|it| it.contains("@{") || it.contains("${")) {
        return Err("values that refer to a field are not supported; write fixed text".to_owned());
    }
    match (name, &values[..]) {
        ("equals", []) => Ok(json!({ "header": field, "not": true })),
        ("equals", [_, _, ..]) => {
            Err("a header has only one value, so it never equals several".to_owned())
        }
        (_, values) => Ok(json!({ "header": field, "one_of": values })),
    }
}
