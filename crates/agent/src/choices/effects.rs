//! Rejects an interceptor with effects where events may pass it a second time after they were
//! stored: the configuration is invalid. Its second result can differ, so events would be stored
//! twice or lost.

use config::{ConfigError, SourcePlan};
use pipeline::{ResendMode, SettingsError, SettingsErrorKind};

use crate::built::BuiltSource;

/// Returns the problem with an interceptor of this source.
pub(crate) fn refusal(file: &str, plan: &SourcePlan, built: &BuiltSource) -> Option<ConfigError> {
    let (name, kind) = (&built.name, &built.kind);
    let channels = built.required.len() + built.optional.len();
    let problem = match built.source.resend_mode() {
        ResendMode::ByIdentity => format!(
            "source `{name}` (`{kind}`) receives batches that another agent has stored and may \
             send again; move the interceptor to the first agent of the path, or make the plug-in \
             pure"
        ),
        ResendMode::ByPosition if channels > 1 => format!(
            "source `{name}` (`{kind}`) rereads events that only some of its {channels} channels \
             have; give it one channel, or make the plug-in pure"
        ),
        ResendMode::ByPosition | ResendMode::Nothing => return None,
    };
    let mut built = plan.interceptors.iter().zip(&built.interceptors);
    let (plan, _) = built
        .find(|(_, built)| built.interceptor.remote().is_some_and(|remote| remote.has_effect()))?;
    let place = plan.settings.get("effect").map_or(&plan.kind_place, |given| &given.place);
    let problem =
        format!("the interceptor may have another result for the same event, and {problem}");
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
