//! The rules of X's filtered stream: conditions for posts.

use hyper::{Method, Uri};
use pipeline::BuildError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;

use crate::client::{Client, Failure, HttpError, shown_url};

/// Maximum size of a response about rules: X allows 1,000 rules of 1,024 characters.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// Rule that a post must match, such as `"cat has:images"`.
    value: String,
    /// Tag of the posts that match the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

/// The rules that the server must have.
pub(super) struct Rules {
    rules: Vec<Rule>,
    uri: Uri,
}

impl Rules {
    /// Creates the rules for the stream at this URL.
    ///
    /// # Errors
    /// A rule is empty or occurs twice.
    pub(super) fn new(rules: Vec<Rule>, stream: &Uri) -> Result<Self, BuildError> {
        let mut values: Vec<&str> = rules.iter().map(|rule| &*rule.value).collect();
        values.sort_unstable();
        if values.iter().any(|value| value.trim().is_empty()) {
            return Err(BuildError::invalid(
                "rules",
                "must have a `value` in each rule; write for example \"cat has:images\"",
            ));
        }
        if let Some(twice) = values.windows(2).find(|pair| pair[0] == pair[1]) {
            let problem = format!("`{}` occurs twice: remove one", twice[0]);
            return Err(BuildError::invalid("rules", problem));
        }
        let mut parts = stream.clone().into_parts();
        let path = format!("{}/rules", stream.path().trim_end_matches('/'));
        parts.path_and_query = path.parse().ok();
        let uri = Uri::from_parts(parts).map_err(|error| BuildError::invalid("url", error))?;
        Ok(Self { rules, uri })
    }

    /// Deletes other rules on the server, and adds missing ones.
    ///
    /// # Errors
    /// The server does not respond, or rejects a rule.
    pub(super) async fn set(&self, client: &mut Client, source: &str) -> Result<(), HttpError> {
        let answer = client.json(&Method::GET, &self.uri, None, ANSWER_BYTES_MAX).await?;
        let (surplus, lacking) = differences(&self.rules, &answer);
        // Delete first, because the server limits their number.
        if !surplus.is_empty() {
            self.post(client, &json!({ "delete": { "ids": surplus } })).await?;
        }
        if !lacking.is_empty() {
            self.post(client, &json!({ "add": lacking })).await?;
        }
        if !surplus.is_empty() || !lacking.is_empty() {
            let (deleted, added) = (surplus.len(), lacking.len());
            info!(source, deleted, added, "updated the rules of the stream");
        }
        Ok(())
    }

    async fn post(&self, client: &mut Client, body: &Value) -> Result<(), HttpError> {
        let answer = client.json(&Method::POST, &self.uri, Some(body), ANSWER_BYTES_MAX).await?;
        let Some(error) = answer.pointer("/errors/0") else { return Ok(()) };
        let text = ["detail", "title", "message"].iter().find_map(|name| error.get(name)?.as_str());
        let value = error.get("value").and_then(Value::as_str).unwrap_or_default();
        let problem = format!(
            "the server rejects the rule `{value}`: {}; correct it in `rules`",
            text.unwrap_or("no reason given")
        );
        Err(Failure::Unexpected { url: shown_url(&self.uri), problem }.into())
    }
}

/// Returns the ids of unwanted rules, and the missing rules.
fn differences(wanted: &[Rule], answer: &Value) -> (Vec<String>, Vec<Rule>) {
    let there = answer.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rule = |it: &Value| {
        let text = |name: &str| it.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Rule { value: text("value")?, tag: text("tag") })
    };
    let surplus = there.iter().filter(|it| rule(it).is_none_or(|rule| !wanted.contains(&rule)));
    let ids = surplus.filter_map(|it| it.get("id").and_then(Value::as_str).map(str::to_owned));
    let here: Vec<Rule> = there.iter().filter_map(rule).collect();
    let lacking = wanted.iter().filter(|rule| !here.contains(rule)).cloned().collect();
    (ids.collect(), lacking)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletes_surplus_rules_and_adds_missing_ones() {
        let rule = |value: &str, tag: Option<&str>| Rule {
            value: value.to_owned(),
            tag: tag.map(str::to_owned),
        };
        let wanted = [rule("cat", Some("cats")), rule("dog", None)];
        let answer = json!({ "data": [
            { "id": "1", "value": "cat", "tag": "cats" },
            { "id": "2", "value": "dog", "tag": "dogs" },
            { "id": "3", "value": "cow" },
        ]});
        let (surplus, lacking) = differences(&wanted, &answer);
        assert_eq!(surplus, ["2", "3"]);
        assert_eq!(lacking, [rule("dog", None)]);
        let none = json!({ "meta": { "sent": "2026" } });
        assert_eq!(differences(&wanted, &none), (Vec::new(), wanted.to_vec()));
    }
}
