//! Rejects an interceptor or a selector with effects where events may pass it a second time after
//! they were stored: the configuration is invalid. Its second result can differ, so events would be
//! stored twice or lost.

use config::{ConfigError, SourcePlan};
use pipeline::{ResendMode, SettingsError, SettingsErrorKind};

use crate::built::BuiltSource;

/// Returns the problem with an interceptor or the selector of this source.
pub(crate) fn refusal(file: &str, plan: &SourcePlan, built: &BuiltSource) -> Option<ConfigError> {
    let (name, kind) = (&built.name, &built.kind);
    let channels = built.required.len() + built.optional.len();
    let problem = match built.source.resend_mode() {
        ResendMode::ByIdentity => format!(
            "source `{name}` (`{kind}`) receives batches that another agent has stored and may \
             send again; move it to the first agent of the path, or make the plug-in pure (of \
             Flume: `--pure CLASS`)"
        ),
        ResendMode::ByPosition if channels > 1 => format!(
            "source `{name}` (`{kind}`) rereads events that only some of its {channels} channels \
             have; give it one channel, or make the plug-in pure (of Flume: `--pure CLASS`)"
        ),
        ResendMode::ByPosition | ResendMode::Nothing => return None,
    };
    let mut interceptors = plan.interceptors.iter().zip(&built.interceptors);
    let interceptor = interceptors
        .find(|(_, built)| built.interceptor.remote().is_some_and(|remote| remote.has_effect()));
    let (what, result, plan) = match interceptor {
        Some((plan, _)) => ("interceptor", "result", plan),
        None if built.selector.remote().is_some_and(|remote| remote.has_effect()) => {
            ("selector", "choice", &plan.selector)
        }
        None => return None,
    };
    let place = plan.settings.get("effect").map_or(&plan.kind_place, |given| &given.place);
    let problem = format!("the {what} may have another {result} for the same event, and {problem}");
    let error = SettingsError::new(SettingsErrorKind::Invalid, place.clone(), problem);
    Some(ConfigError::at(file, &format!("{}.effect", plan.path), error))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use catalogue::FULL;
    use config::Plan;

    fn checked(source: &str, channels: &[&str], effect: bool) -> Result<(), String> {
        let mut text = format!(
            "[agent]\ndata_dir = \"/d\"\n\
             [sources.in]\n{source}\nchannels = {channels:?}\n\
             [[sources.in.interceptors]]\ntype = \"process\"\ncommand = [\"true\"]\n\
             effect = {effect}\n"
        );
        for channel in channels {
            text += &format!(
                "[channels.{channel}]\ntype = \"memory\"\n\
                 [sinks.{channel}]\ntype = \"discard\"\nchannel = \"{channel}\"\n"
            );
        }
        let plan: Plan = config::load(Path::new("agent.toml"), &text, "host").unwrap();
        let checked = crate::check(&plan, FULL, &env::real());
        checked.map(|_| ()).map_err(|errors| errors.to_string())
    }

    #[test]
    fn selectors_with_effects_need_a_source_that_never_resends() {
        for (source, expected) in [
            ("type = \"tail_dir\"\npaths = [\"/l/*.log\"]", "the selector may have another choice"),
            ("type = \"http\"\nlisten = \"127.0.0.1:0\"", ""),
        ] {
            let text = |effect: bool| {
                format!(
                    "[agent]\ndata_dir = \"/d\"\n\
                     [sources.in]\n{source}\nchannels = [\"a\", \"b\"]\n\
                     selector = {{ type = \"process\", command = [\"true\"], effect = {effect} }}\n\
                     [channels.a]\ntype = \"memory\"\n[channels.b]\ntype = \"memory\"\n\
                     [sinks.a]\ntype = \"discard\"\nchannel = \"a\"\n\
                     [sinks.b]\ntype = \"discard\"\nchannel = \"b\"\n"
                )
            };
            let checked = |effect| {
                let plan: Plan =
                    config::load(Path::new("agent.toml"), &text(effect), "host").unwrap();
                crate::check(&plan, FULL, &env::real()).map(|_| ()).map_err(|it| it.to_string())
            };
            let found = checked(true).err().unwrap_or_default();
            assert!(found.contains(expected), "{source}: {found}");
            assert_eq!(found.is_empty(), expected.is_empty(), "{source}: {found}");
            assert_eq!(checked(false), Ok(()), "{source}");
        }
    }

    #[test]
    fn effects_are_allowed_only_before_events_are_stored() {
        let sources = [
            ("type = \"grpc\"\nlisten = \"127.0.0.1:0\"", "first agent", "first agent"),
            ("type = \"tail_dir\"\npaths = [\"/l/*.log\"]", "", "one channel"),
            ("type = \"http\"\nlisten = \"127.0.0.1:0\"", "", ""),
        ];
        for (source, with_one, with_two) in sources {
            for (channels, expected) in [(&["a"][..], with_one), (&["a", "b"], with_two)] {
                let found = checked(source, channels, true).err().unwrap_or_default();
                assert!(found.contains(expected), "{source}: {found}");
                assert_eq!(found.is_empty(), expected.is_empty(), "{source}: {found}");
                let at_setting = found.contains("sources.in.interceptors.0.effect");
                assert_eq!(at_setting, !expected.is_empty(), "{source}: {found}");
                assert_eq!(checked(source, channels, false), Ok(()), "{source}");
            }
        }
    }
}
