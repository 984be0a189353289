//! Configurations: Flume's, and our own.

use std::path::Path;

use config::{ConfigErrors, Plan, read_text, resolve, to_toml};
use flume::{File, Options, World, agents, convert, properties as flume_properties};

use super::chosen;
use crate::rig::ENV;

/// Host of a configuration without an agent name.
const HOST: &str = "host";
/// File name in errors.
const FILE: &str = "fuzz";
/// A path that selects the print format of a plan.
const TOML: &str = "/a.toml";

/// A `.properties` file of Flume: reads it and translates each of its agents. If a translation is a
/// valid plan, it survives a round trip.
pub(super) fn properties(input: &[u8]) -> usize {
    let file = File { name: FILE.into(), text: String::from_utf8_lossy(input).into_owned() };
    let Ok(all) = flume_properties::read(&file.name, &file.text) else { return 0 };
    let mut translated = 0;
    for agent in agents(&all) {
        // Printed configurations keep references without a value; running ones may not.
        for keep_references in [true, false] {
            let options = Options {
                agent: Some(agent.clone()),
                data_dir: "/d".into(),
                admin: None,
                flume_metrics: None,
                default_fs: None,
                keep_references,
                jvm: None,
            };
            let nowhere = Nowhere(input);
            let Ok(conversion) = convert(std::slice::from_ref(&file), &options, &nowhere) else {
                continue;
            };
            translated += 1;
            match resolve(FILE, conversion.settings, HOST) {
                // References have no value here, because no file can be read.
                Ok(plan) if !to_toml(&plan).contains("${") => written_again(&plan),
                _ => {}
            }
        }
    }
    translated
}

/// Our own configuration, in TOML or YAML: returns all of its problems, or a plan that survives a
/// round trip.
pub(super) fn configuration(input: &[u8]) -> usize {
    let (choice, text) = chosen(input);
    let name = if choice & 1 == 0 { TOML } else { "/a.yaml" };
    let Ok(text) = std::str::from_utf8(text) else { return 0 };
    match plan(name, text) {
        Ok(plan) => {
            written_again(&plan);
            1
        }
        Err(errors) => {
            assert!(!errors.to_string().is_empty(), "a problem is named");
            0
        }
    }
}

fn plan(name: &str, text: &str) -> Result<Plan, ConfigErrors> {
    resolve(FILE, read_text(FILE, Path::new(name), text, &ENV)?, HOST)
}

/// The order of keys comes from the text, so compare texts, which have a single order.
fn written_again(written: &Plan) {
    let text = to_toml(written);
    let again = plan(TOML, &text);
    let again = again.unwrap_or_else(|errors| panic!("a plan can be written:\n{text}\n{errors}"));
    assert_eq!(to_toml(&again), text, "it comes back as it was");
}

/// An environment without variables, but with all components. Each file named in a configuration,
/// such as a morphline or a credential store, contains the bytes of the configuration.
struct Nowhere<'a>(&'a [u8]);

impl World for Nowhere<'_> {
    fn file(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.to_vec())
    }
}
