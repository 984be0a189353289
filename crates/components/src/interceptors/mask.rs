//! `mask`: hides parts of the body or of a header: by a fixed text, or by a keyed hash, which is
//! the same for equal values.
//!
//! The hash is HMAC-SHA-256 with a secret key, so that values cannot be guessed without the key. It
//! is the same on every agent with that key: masked values can still be counted and joined.

use crypto::hmac;
use metrics::{Counter, MetricSpec};
use pipeline::secret::Secret;
use pipeline::{BuildContext, BuildError, Component, Events, Interceptor, Rejects, Values};
use regex::bytes::{CaptureLocations, Regex};
use schemars::JsonSchema;
use serde::Deserialize;

use super::conditions::{self, Compiled, Condition};

/// Minimum length of the hash key in bytes.
const KEY_MIN: usize = 16;
/// Bytes of the hash in the output, two digits each.
const HASH_BYTES: usize = 16;

/// Settings of the `mask` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Pattern of the text to mask, anywhere in the value: its groups, or the whole match if it has
    /// none. Without a pattern the whole header is masked.
    #[serde(default)]
    pattern: Option<String>,
    /// Header to mask. Default: the body.
    #[serde(default)]
    header: Option<String>,
    /// Conditions of the events to mask. An event that meets all of them is masked. Without
    /// conditions every event is.
    #[serde(default)]
    when: Vec<Condition>,
    /// Replacement text.
    #[serde(default = "default_text")]
    text: String,
    /// Key of a hash that follows `text`: at least 16 bytes. Use a reference. Default: no hash.
    #[serde(default)]
    key: Option<Secret>,
}

fn default_text() -> String {
    "***".to_owned()
}

impl Component for Config {
    const KIND: &'static str = "mask";
    const METRICS: &'static [MetricSpec] =
        &[MetricSpec::counter("masked_events", "Events with masked text.")];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        if let Some(header) = &self.header {
            super::check_name("header", header)?;
        } else if self.pattern.is_none() {
            let problem = "must be set to mask the body, which is the default without `header`; \
                           write for example pattern = \"[0-9]{16}\"";
            return Err(BuildError::invalid("pattern", problem));
        }
        let pattern = self.pattern.as_deref().map(|text| super::pattern("pattern", text));
        let key = self.key.as_ref().map(Secret::expose);
        if let Some(short) = key.filter(|key| key.len() < KEY_MIN) {
            let problem = format!("has {} bytes, but must have at least {KEY_MIN}", short.len());
            return Err(BuildError::invalid("key", problem));
        }
        Ok(Box::new(Mask {
            pattern: pattern.transpose()?,
            header: self.header,
            when: conditions::compile("when", &self.when, cx)?,
            shown: format!("{:?}", self.when),
            text: self.text,
            key: key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())),
            masked: cx.scope::<Self>().counter("masked_events")?,
        }))
    }
}

struct Mask {
    pattern: Option<Regex>,
    header: Option<String>,
    when: Vec<Compiled>,
    /// Conditions as text, for a routing.
    shown: String,
    text: String,
    key: Option<hmac::Key>,
    masked: Counter,
}

impl Mask {
    /// Appends the replacement of `hidden`.
    fn write(&self, hidden: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.text.as_bytes());
        if let Some(key) = &self.key {
            for byte in &hmac::sign(key, hidden).as_ref()[..HASH_BYTES] {
                let digits =
                    [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[digit as usize]);
                out.extend_from_slice(&digits);
            }
        }
    }

    /// Appends `text` with hidden parts; returns true if something was hidden.
    fn mask(&self, text: &[u8], groups: &mut CaptureLocations, out: &mut Vec<u8>) -> bool {
        let Some(pattern) = &self.pattern else {
            self.write(text, out);
            return true;
        };
        let (mut copied, mut at, mut found) = (0, 0, false);
        while at <= text.len() {
            let Some(whole) = pattern.captures_read_at(groups, text, at) else { break };
            // An empty match hides nothing, and must not be found again.
            at = whole.end().max(at) + usize::from(whole.is_empty());
            let first = usize::from(groups.len() > 1);
            for group in first..groups.len() {
                let Some((start, end)) = groups.get(group) else { continue };
                // A group within another one is already hidden.
                if start >= copied && end > start {
                    out.extend_from_slice(&text[copied..start]);
                    self.write(&text[start..end], out);
                    (copied, found) = (end, true);
                }
            }
        }
        out.extend_from_slice(&text[copied..]);
        found
    }

    /// Describes the hidden parts and the method: equal text for equal effect.
    fn effect(&self) -> String {
        let pattern = self.pattern.as_ref().map_or("all of it", Regex::as_str);
        let mut with = Vec::new();
        self.write(b"fingerprint", &mut with);
        let with = String::from_utf8_lossy(&with);
        format!("{pattern:?} hidden by {with:?} when {}", self.shown)
    }

    fn mask_header(&self, batch: &mut Events, header: &str, wanted: &[bool]) -> u64 {
        let (mut values, mut out, mut masked) = (Values::default(), Vec::new(), 0);
        let mut groups = super::locations(self.pattern.as_ref());
        // Consecutive equal values share their memory: hide them once.
        let mut last: Option<(*const u8, usize, bool)> = None;
        for (value, wanted) in batch.values(header).zip(wanted) {
            let Some(value) = value.filter(|_| *wanted) else {
                values.push(value);
                continue;
            };
            let place = (value.as_ptr(), value.len());
            let known = last.filter(|(start, length, _)| (*start, *length) == place);
            let found = known.map_or_else(
                || {
                    out.clear();
                    self.mask(value.as_bytes(), &mut groups, &mut out)
                },
                |(.., found)| found,
            );
            last = Some((place.0, place.1, found));
            masked += u64::from(found);
            // A pattern for bytes may split a character.
            values.push(Some(&String::from_utf8_lossy(&out)));
        }
        batch.set_values(header, values);
        masked
    }
}

impl Interceptor for Mask {
    fn intercept(&self, batch: &mut Events, _rejects: &mut Rejects) {
        let mut wanted = vec![true; batch.len()];
        conditions::narrow(&self.when, batch, &mut wanted);
        let masked = match &self.header {
            Some(header) => self.mask_header(batch, header, &wanted),
            None => {
                let mut groups = super::locations(self.pattern.as_ref());
                batch.rewrite_bodies(|event, out| {
                    wanted[event.index()] && self.mask(event.body(), &mut groups, out)
                })
            }
        };
        self.masked.inc_by(masked);
    }

    /// Contains the key's fingerprint, not the key.
    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        let is_seen = self.header.is_some() && self.header.as_deref() == header;
        is_seen.then(|| self.effect())
    }

    fn body_effect(&self) -> Option<String> {
        self.header.is_none().then(|| format!("bodies with {}", self.effect()))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use pipeline::Existing;
    use serde_json::{Value, json};

    use super::super::testing::{bodies, built, refused, through, values};
    use super::*;

    fn masked(settings: &Value, body: &str) -> String {
        bodies(&through::<Config>(settings, Batch::of([body]))).remove(0)
    }

    #[test]
    fn masks_matches_and_keeps_the_rest() {
        for (pattern, body, expected) in [
            ("[0-9]{4,}", "pin 1234 and 99999, not 12", "pin *** and ***, not 12"),
            ("token=([^&]+)", "a?token=s3cret&x=1&token=b", "a?token=***&x=1&token=***"),
            ("(a)(b)?", "ab ac", "****** ***c"),
            ("((a)b)", "ab", "***"),
            ("x*", "axxb", "a***b"),
            ("none", "as it was", "as it was"),
        ] {
            assert_eq!(masked(&json!({ "pattern": pattern }), body), expected, "{pattern}");
        }
        let text = json!({ "pattern": "a", "text": "" });
        assert_eq!(masked(&text, "banana"), "bnn");
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_value_and_key() {
        let with = |key: &str| json!({ "pattern": "\\w+@\\w+", "text": "m:", "key": key });
        let (one, other) = (with("0123456789abcdef"), with("fedcba9876543210"));
        let text = masked(&one, "ann@x bob@x ann@x");
        let parts: Vec<&str> = text.split(' ').collect();
        assert_eq!(parts[0], parts[2]);
        assert_ne!(parts[0], parts[1]);
        assert_eq!(parts[0].len(), "m:".len() + 32);
        assert_ne!(masked(&other, "ann@x"), parts[0], "another key, another hash");
        // The output of `printf ann@x | openssl dgst -sha256 -hmac 0123456789abcdef`.
        assert_eq!(parts[0], "m:8f5e4260374876d7417abfff826f2df7");
    }

    #[test]
    fn headers_are_hidden_in_part_or_as_a_whole() {
        let mut batch = Batch::of(["a", "b"]);
        batch.set_column("user", [Some("ann 12"), None].into_iter());
        batch.set_header("site", "fra", Existing::Keep);
        let part = through::<Config>(&json!({ "header": "user", "pattern": "[0-9]" }), batch);
        assert_eq!(values(&part, "user"), ["ann ******", "-"]);
        let whole = through::<Config>(&json!({ "header": "site" }), part);
        assert_eq!(values(&whole, "site"), ["***", "***"]);
        assert_eq!(bodies(&whole), ["a", "b"]);
    }

    #[test]
    fn only_events_for_which_the_conditions_hold_are_masked() {
        let when = json!([{ "header": "app", "one_of": ["shop"] }]);
        for header in [json!(null), json!("user")] {
            let mut batch = Batch::of(["ann", "ann", "ann"]);
            batch.set_header("user", "ann", Existing::Keep);
            batch.set_column("app", [Some("shop"), Some("desk"), None].into_iter());
            let mut settings = json!({ "pattern": "ann", "when": when });
            if header.is_string() {
                settings["header"] = header.clone();
            }
            let batch = through::<Config>(&settings, batch);
            let expected = ["***", "ann", "ann"];
            let masked = if header.is_null() { bodies(&batch) } else { values(&batch, "user") };
            assert_eq!(masked, expected, "{header}");
        }
    }

    #[test]
    fn the_key_is_not_shown() {
        let settings = json!({ "header": "user", "key": "hunter2hunter2hunter2" });
        let shown = built::<Config>(&settings).unwrap().routing_effect(Some("user")).unwrap();
        assert!(!shown.contains("hunter2"), "{shown}");
        let other = json!({ "header": "user", "key": "hunter3hunter3hunter3" });
        assert_ne!(built::<Config>(&other).unwrap().routing_effect(Some("user")).unwrap(), shown);
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        assert_eq!(refused::<Config>(&json!({})), "pattern");
        assert_eq!(refused::<Config>(&json!({ "pattern": "(" })), "pattern");
        assert_eq!(refused::<Config>(&json!({ "pattern": "a", "key": "short" })), "key");
        assert_eq!(refused::<Config>(&json!({ "header": "" })), "header");
    }

    #[test]
    fn the_routing_by_bodies_knows_a_mask_of_bodies_alone() {
        let effect = |settings: &Value| built::<Config>(settings).unwrap().body_effect();
        let of_bodies = effect(&json!({ "pattern": "[0-9]+" }));
        assert!(of_bodies.is_some() && of_bodies != effect(&json!({ "pattern": "[a-z]+" })));
        assert_eq!(effect(&json!({ "header": "user" })), None);
    }
}
