//! Java classes that run in a virtual machine: the components `process` with Flume's bridge.

use pipeline::Settings;
use pipeline::settings::Value;

use super::{Translator, flag, jms, list, plain, text_of};
use crate::Jvm;
use crate::agent::{Bag, Prop};
use crate::report::Outcome;
use crate::table::{self, Becomes, Row};

/// Roles whose classes can run.
const ROLES: [&str; 5] = ["source", "interceptor", "selector", "sink", "encoder"];

/// Time limit of a call of a sink. Flume has no limit.
const SINK_TIMEOUT: &str = "5m";

/// Words in names of keys whose values are not shown.
const SECRETS: [&str; 6] = ["password", "passwd", "passphrase", "secret", "token", "credential"];

/// Returns `true` if only Flume's own source understands these keys.
fn needs_class(row: &Row, bag: &Bag) -> bool {
    match row.name {
        "jms" => jms::needs_client(bag),
        "spooldir" => bag.get("deserializer").is_some_and(|prop| {
            let class = &prop.text.value;
            class.contains('.') && table::find("decoder", class).is_err()
        }),
        _ => false,
    }
}

impl<'a> Translator<'a> {
    /// Returns the virtual machine for a component, if its class has to run in one.
    pub(super) fn jvm_for(
        &self,
        role: &str,
        row: Option<&Row>,
        (class, bag): (&str, &Bag),
    ) -> Option<&'a Jvm> {
        let is_translated = row.is_some_and(|row| match row.becomes {
            Becomes::Later(_) | Becomes::Never(_) => false,
            Becomes::Kind(_) | Becomes::Several(_) => !needs_class(row, bag),
        });
        let is_class = row.is_some() || class.contains('.');
        let jvm = self.options.jvm.as_ref()?;
        (ROLES.contains(&role) && is_class && !is_translated).then_some(jvm)
    }

    /// Makes the component `process` that runs a class with all of its keys.
    pub(super) fn class(
        &mut self,
        role: &'static str,
        class: &Prop,
        bag: &mut Bag,
        (jvm, target): (&Jvm, &str),
    ) -> Settings {
        let place = &class.place;
        let text = &class.text.value;
        if let Some(problem) = &jvm.problem {
            self.add(Outcome::Decision, class, problem);
        } else if self.world.has(role, "process") {
            let what = format!("{role} `process`: the class runs in a Java virtual machine");
            self.add(Outcome::Carried, class, what);
        } else {
            let problem =
                format!("this build does not contain the {role} `process`: use a build that does");
            self.add(Outcome::Decision, class, problem);
        }
        let mut made = Settings::at(Value::Table(Vec::new()), bag.place.clone());
        made.set("type", plain("process", place));
        let own = |class: &str| class.trim_end_matches("$Builder").to_owned();
        let is_pure = jvm.pure.iter().any(|it| own(it) == own(text));
        let may_have_effect = matches!(role, "interceptor" | "selector");
        let flags = (may_have_effect && is_pure).then_some("--pure");
        let command = jvm.command.iter().map(String::as_str).chain(flags);
        made.set("command", list(command, place));
        if let Some(memory_max) = &jvm.memory_max {
            made.set("memory_max", plain(memory_max, place));
        }
        match role {
            "interceptor" | "selector" if !is_pure => made.set("effect", flag(true, place)),
            "sink" => made.set("timeout", plain(SINK_TIMEOUT, place)),
            _ => {}
        }
        let mut settings = Settings::at(Value::Table(Vec::new()), place.clone());
        let mut secrets = settings.clone();
        settings.set("type", text_of(class));
        for prop in std::mem::take(&mut bag.props) {
            let name = prop.name.to_lowercase();
            let is_secret = SECRETS.iter().any(|word| name.contains(word));
            let (table, setting) = match is_secret {
                true => (&mut secrets, "secret_settings"),
                false => (&mut settings, "settings"),
            };
            table.set(&prop.name, text_of(&prop));
            self.carried(&prop, target, setting);
        }
        made.set("settings", settings);
        if !matches!(&secrets.value, Value::Table(all) if all.is_empty()) {
            made.set("secret_settings", secrets);
        }
        made
    }
}
