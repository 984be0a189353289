//! Rejects a selector with a free choice for a source that resends events: the configuration is
//! invalid. A resent event could go to another channel than before, and be stored twice or not at
//! all ([`pipeline::ResendMode`]).

pub(crate) mod effects;

use config::{ConfigError, SourcePlan};
use pipeline::settings::Value;
use pipeline::{FreeChoice, ResendMode, SettingsError, SettingsErrorKind, Source};

/// Returns the problem with a choice of this source's selector.
pub(crate) fn refusal(
    file: &str,
    plan: &SourcePlan,
    source: &dyn Source,
    choice: &dyn FreeChoice,
) -> Option<ConfigError> {
    let again = match source.resend_mode() {
        ResendMode::Nothing => return None,
        ResendMode::ByPosition => "rereads events that some channels already have",
        ResendMode::ByIdentity => "receives batches again that some channels already have",
    };
    let (setting, selector) = (choice.setting(), &plan.selector);
    let given = selector.settings.get(setting);
    let place = given.map_or(&selector.kind_place, |given| &given.place).clone();
    let chosen = match given.map(|given| &given.value) {
        Some(Value::Text(text)) => text,
        _ => &selector.kind,
    };
    let (name, kind) = (&plan.component.name, &plan.component.kind);
    let problem = format!(
        "`{chosen}` may choose another channel for a repeated event, and source `{name}` \
         (`{kind}`) {again}: events would be stored twice or lost; {}",
        choice.instead(),
    );
    let error = SettingsError::new(SettingsErrorKind::Invalid, place, problem);
    Some(ConfigError::at(file, &format!("{}.{setting}", selector.path), error))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use catalogue::FULL;
    use config::Plan;
    use pipeline::{Entry, Source};

    const SELECTORS: [(&str, &str, &str); 3] = [
        ("type = \"priority\"", "type", "`failover`"),
        ("type = \"load_balancing\", policy = \"random\"", "policy", "set `policy = \"hash\"`"),
        (
            "policy = \"round_robin\", type = \"load_balancing\"",
            "policy",
            "set `policy = \"hash\"`",
        ),
    ];

    fn checked(source: &str, selector: &str) -> Result<(), String> {
        let text = format!(
            "[agent]\ndata_dir = \"/d\"\n\
             [sources.in]\n{source}\nchannels = [\"a\", \"b\"]\nselector = {{ {selector} }}\n\
             [channels.a]\ntype = \"memory\"\n[channels.b]\ntype = \"memory\"\n\
             [sinks.one]\ntype = \"discard\"\nchannel = \"a\"\n\
             [sinks.other]\ntype = \"discard\"\nchannel = \"b\"\n"
        );
        let plan: Plan = config::load(Path::new("agent.toml"), &text, "host").unwrap();
        let checked = crate::check(&plan, FULL, &env::real());
        checked.map(|_| ()).map_err(|errors| errors.to_string())
    }

    #[test]
    fn free_choice_is_refused_only_for_sources_that_repeat_events() {
        let mut refused = Vec::new();
        for Entry { kind, example, .. } in FULL.entries::<dyn Source>() {
            let source = format!("type = \"{kind}\"\n{example}");
            checked(&source, "type = \"load_balancing\"").unwrap();
            let outcomes = SELECTORS.map(|(selector, ..)| checked(&source, selector));
            for ((_, setting, remedy), outcome) in SELECTORS.iter().zip(&outcomes) {
                let Err(text) = outcome else { continue };
                let line = format!("agent.toml:{}:", 6 + example.lines().count().max(1));
                assert!(text.contains(&line) && text.contains(remedy), "{text}");
                assert!(text.contains(&format!("sources.in.selector.{setting}:")), "{text}");
                assert!(text.contains(&format!("source `in` (`{kind}`)")), "{text}");
            }
            match outcomes.iter().filter(|outcome| outcome.is_err()).count() {
                0 => {}
                all => {
                    assert_eq!(all, outcomes.len(), "{kind}: one as the other");
                    refused.push(*kind);
                }
            }
        }
        refused.sort_unstable();
        assert_eq!(
            refused,
            [
                "grpc",
                "hdfs",
                "http_poll",
                "http_stream",
                "journald",
                "kafka",
                "nats",
                "process",
                "sequence",
                "spool_dir",
                "sql",
                "sql_changes",
                "tail_dir"
            ]
        );
    }
}
