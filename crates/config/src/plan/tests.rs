//! A component reports every problem of its settings.
//!
//! Method: a component made for this test, built from a plan whose settings are wrong in many ways.

use std::path::Path;

use pipeline::component::{BuildError, Component, entry};
use pipeline::units::{ByteSize, Period};
use pipeline::{Catalogue, Entry, Events, Group, Interceptor, Rejects};
use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keep {
    size: ByteSize,
    #[serde(default)]
    roll: Roll,
    #[serde(default)]
    even: u32,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Roll {
    #[serde(default)]
    age_max: Option<Period>,
}

struct Nothing;

impl Interceptor for Nothing {
    fn intercept(&self, _events: &mut Events, _rejects: &mut Rejects) {}

    fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
        None
    }
}

impl Component for Keep {
    const KIND: &'static str = "keep";
    type Role = dyn Interceptor;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        if self.even % 2 == 1 || self.roll.age_max.is_some() && self.size.0 == 0 {
            return Err(BuildError::invalid("even", "must be even"));
        }
        Ok(Box::new(Nothing))
    }
}

static TABLE: &[Entry<dyn Interceptor>] = &[entry::<Keep>()];

static GROUP: Group = Group { interceptors: TABLE, ..Group::EMPTY };

const CATALOGUE: Catalogue = Catalogue { groups: &[&GROUP], unavailable: &[] };

#[test]
fn every_problem_of_a_component_is_reported() {
    let errors = problems("keep", "sise = 1\nsize = 3\neven = 3\n[roll]\nage_mx = \"1s\"\n");
    let expected = [
        "1: unknown key `sise`; did you mean `size`?",
        "2: expected a size with its unit, for example \"64MiB\", found the number `3`",
        "5: unknown key `age_mx`; did you mean `age_max`?",
    ];
    // Without a size nothing is built, so `even` has to wait.
    assert_eq!(errors, expected);

    let errors = problems("keep", "size = \"3B\"\neven = 3\n[roll]\nage_mx = \"1s\"\nx = 1\n");
    let expected = [
        "4: unknown key `age_mx`; did you mean `age_max`?",
        "5: unknown key `x`; known: `age_max`",
        "2: must be even",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn unknown_kind_is_refused_with_the_closest_one() {
    assert_eq!(problems("kepe", ""), ["9: unknown type `kepe`; did you mean `keep`?"]);
}

#[test]
fn valid_configuration_is_built() {
    assert!(problems("keep", "size = \"3B\"\n").is_empty());
}

fn problems(kind: &str, text: &str) -> Vec<String> {
    let plan = ComponentPlan {
        name: "it".into(),
        kind: kind.into(),
        kind_place: Place { file: "a.toml".into(), line: 9, column: 1 },
        path: "it".into(),
        settings: crate::read(Path::new("a.toml"), text).unwrap(),
        insecure: None,
    };
    let alone = BuildContext::alone("it", Path::new("/d"), env::real());
    let cx = BuildContext { catalogue: CATALOGUE, ..alone };
    let errors = plan.build::<dyn Interceptor>(&cx).err().unwrap_or_default();
    errors.iter().map(|error| format!("{}: {}", error.place.line, error.problem)).collect()
}
