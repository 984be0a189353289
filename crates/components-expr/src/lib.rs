//! The components that bring a language for expressions with them.

pub mod cel;

use pipeline::component::entry;
use pipeline::{Condition, Entry, Group};

/// Every condition.
static CONDITIONS: &[Entry<dyn Condition>] = &[entry::<cel::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("expr"),
    conditions: CONDITIONS,
    ..Group::EMPTY
};
