//! A plan as it may be shown: without its secrets.

use pipeline::Secret;
use pipeline::secret::MASK;
use pipeline::settings::{Settings, Value};
use pipeline::{
    Catalogue, Channel, ChannelSelector, Interceptor, Role, Sink, SinkProcessor, Source,
};
use schemars::JsonSchema;
use serde_json::Value as Json;
use tls::ServerTls;

use crate::plan::{ComponentPlan, Plan};
use crate::{FleetSettings, TraceSettings, schema, substitute};

/// Returns the plan with `***` instead of each secret, or with the reference (`${…}`) if that is
/// the whole value. The schema of a component marks its secret settings.
pub fn redacted(plan: &Plan, catalogue: Catalogue) -> Plan {
    let mut plan = plan.clone();
    if let Some(tls) = &mut plan.agent.admin_tls {
        walk(tls, &schema::plain(ServerTls::json_schema));
    }
    if let Some(token) = &mut plan.agent.admin_token {
        walk(token, &schema::plain(Secret::json_schema));
    }
    if let Some(traces) = &mut plan.agent.traces {
        walk(traces, &schema::plain(TraceSettings::json_schema));
    }
    if let Some(fleet) = &mut plan.agent.fleet {
        walk(fleet, &schema::plain(FleetSettings::json_schema));
    }
    for source in &mut plan.sources {
        mask::<dyn Source>(&mut source.component, catalogue);
        mask::<dyn ChannelSelector>(&mut source.selector, catalogue);
        for interceptor in &mut source.interceptors {
            mask::<dyn Interceptor>(interceptor, catalogue);
        }
    }
    for channel in &mut plan.channels {
        mask::<dyn Channel>(&mut channel.component, catalogue);
    }
    for group in &mut plan.groups {
        mask::<dyn SinkProcessor>(&mut group.processor, catalogue);
        for sink in &mut group.sinks {
            mask::<dyn Sink>(sink, catalogue);
        }
    }
    plan
}

fn mask<R: Role + ?Sized>(component: &mut ComponentPlan, catalogue: Catalogue) {
    let Ok(entry) = catalogue.find::<R>(&component.kind) else { return };
    walk(&mut component.settings, &schema::plain(entry.schema));
}

fn walk(settings: &mut Settings, schema: &Json) {
    if schema.get("writeOnly").and_then(Json::as_bool) == Some(true) {
        if !settings.written.as_deref().is_some_and(substitute::is_reference) {
            settings.written = None;
        }
        settings.value = Value::Text(MASK.to_owned());
        return;
    }
    let parts = ["anyOf", "oneOf", "allOf"].iter().filter_map(|of| schema.get(of)?.as_array());
    parts.flatten().for_each(|part| walk(settings, part));
    match &mut settings.value {
        Value::Table(entries) => {
            let others = schema.get("additionalProperties");
            for (key, value) in entries {
                let own = schema.get("properties").and_then(|all| all.get(&key.name));
                if let Some(schema) = own.or(others) {
                    walk(value, schema);
                }
            }
        }
        Value::List(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| walk(item, schema));
            }
        }
        Value::Flag(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

#[cfg(test)]
mod tests {
    //! Method: a component made for this test, with secrets in every place that a schema has.

    use std::collections::BTreeMap;
    use std::path::Path;

    use pipeline::component::{BuildContext, BuildError, Component, entry};
    use pipeline::{Entry, Group};
    use serde::Deserialize;

    use super::*;
    use crate::to_toml;

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "read for its schema alone")]
    struct Keeper {
        plain: String,
        token: Secret,
        maybe: Option<Secret>,
        inner: Option<Inner>,
        each: Vec<Inner>,
        headers: BTreeMap<String, Secret>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "read for its schema alone")]
    struct Inner {
        /// A setting with a description.
        key: Secret,
    }

    impl Component for Keeper {
        const KIND: &'static str = "keeper";
        type Role = dyn Sink;

        fn build(self, _cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
            Err(BuildError::invalid("plain", "is never built"))
        }
    }

    static SINKS: &[Entry<dyn Sink>] = &[entry::<Keeper>()];
    static GROUP: Group = Group { sinks: SINKS, ..Group::EMPTY };
    const CATALOGUE: Catalogue = Catalogue { groups: &[&GROUP], unavailable: &[] };

    const TEXT: &str = r#"
[agent]
data_dir = "/d"
admin = "localhost:9464"
admin_token = "hunter2-hunter2-"
admin_tls = { keystore = "/k", keystore_password = "hunter2" }
traces = { url = "http://localhost:4318", secret_headers = { a = "hunter2" } }
[sources.in]
type = "sequence"
channels = ["main"]
[channels.main]
type = "memory"
[sinks.out]
type = "keeper"
channel = "main"
plain = "shown"
token = "hunter2"
maybe = "hunter2"
inner = { key = "hunter2" }
each = [{ key = "hunter2" }, { key = "hunter2" }]
headers = { authorization = "Bearer hunter2" }
"#;

    #[test]
    fn no_secret_is_in_what_is_printed_and_all_else_is() {
        let plan = crate::load(Path::new("a.toml"), TEXT, "host").unwrap();
        assert_eq!(to_toml(&plan).matches("hunter2").count(), 10);
        let printed = to_toml(&redacted(&plan, CATALOGUE));
        assert!(!printed.contains("hunter2"), "{printed}");
        assert_eq!(printed.matches("\"***\"").count(), 9, "{printed}");
        assert!(printed.contains("keystore = \"/k\""), "{printed}");
        assert!(printed.contains("plain = \"shown\""), "{printed}");
    }

    #[test]
    fn a_secret_is_shown_as_its_reference_where_that_is_all_of_it() {
        for (written, shown) in [
            ("${file:/run/secrets/x}", "${file:/run/secrets/x}"),
            ("${TOKEN}", "${TOKEN}"),
            ("${TOKEN:-hunter2}", MASK),
            ("hunter2${TOKEN}", MASK),
            ("${TOKEN}hunter2", MASK),
            ("${TOKEN}${TOKEN}", MASK),
            ("${file:a}hunter2${TOKEN}", MASK),
            ("$${TOKEN}", MASK),
        ] {
            let mut plan = crate::load(Path::new("a.toml"), TEXT, "host").unwrap();
            let token = Settings { written: Some(written.into()), ..Settings::text("hunter2") };
            plan.groups[0].sinks[0].settings.set("token", token);
            let printed = to_toml(&redacted(&plan, CATALOGUE));
            assert!(printed.contains(&format!("token = \"{shown}\"")), "{written}: {printed}");
            assert!(!printed.contains("hunter2"), "{written}: {printed}");
        }
    }
}
