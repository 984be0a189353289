//! Settings with a unit: sizes (`"8GiB"`) and durations (`"5min"`, `"200ms"`).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A size in bytes, written with its unit: `"512KiB"`, `"8GiB"`, `"10MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A length of time, written with its unit: `"200ms"`, `"30s"`, `"5min"`, `"1h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl ByteSize {
    /// `count` MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }
}

/// Defaults of settings: `#[serde(default = "pipeline::units::seconds::<30>")]`.
macro_rules! defaults {
    ($($(#[$doc:meta])* $name:ident($number:ty) -> $type:ty = $value:expr;)+) => {
        $($(#[$doc])* pub fn $name<const NUMBER: $number>() -> $type { $value(NUMBER) })+
    };
}

defaults! {
    /// The default of a setting in milliseconds.
    millis(u64) -> Period = |number| Period(Duration::from_millis(number));
    /// The default of a setting in seconds.
    seconds(u64) -> Period = |number| Period(Duration::from_secs(number));
    /// The default of a setting in bytes.
    bytes(u64) -> ByteSize = ByteSize;
    /// The default of a setting in KiB.
    kib(u64) -> ByteSize = |number| ByteSize(number << 10);
    /// The default of a setting in MiB.
    mib(u64) -> ByteSize = ByteSize::mib;
    /// The default of a setting that is a number.
    number(usize) -> usize = std::convert::identity;
    /// The default of a setting that is a number.
    number_u16(u16) -> u16 = std::convert::identity;
    /// The default of a setting that is a number.
    number_u32(u32) -> u32 = std::convert::identity;
    /// The default of a setting that is a number.
    number_u64(u64) -> u64 = std::convert::identity;
}

/// The default of a setting that is set.
pub fn yes() -> bool {
    true
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim();
        if unit.is_empty() && text.trim() != "0" {
            return Err(format!("`{text}` has no unit; write for example \"{text}MiB\""));
        }
        bytesize::ByteSize::from_str(text)
            .map(|size| Self(size.as_u64()))
            .map_err(|_| format!("`{text}` is not a size; write for example \"64MiB\" or \"8GiB\""))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] =
            [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let exact = UNITS.iter().find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit));
        match exact {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map(Self).map_err(|_| {
            format!("`{text}` is not a duration; write for example \"200ms\", \"30s\" or \"5min\"")
        })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_duration(self.0).to_string();
        f.write_str(&text.replace(' ', ""))
    }
}

/// Serde and schema of a type that is written as a string.
macro_rules! written_as_text {
    ($type:ty, $name:literal, $what:literal, $example:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!($what, " with its unit, for example \
                             \"", $example, "\""))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "title": format!("{} with its unit, such as \"{}\"", $what, $example),
                    "type": "string",
                    "pattern": $pattern,
                    "examples": [$example],
                })
            }
        }
    };
}

written_as_text!(
    ByteSize,
    "ByteSize",
    "a size",
    "64MiB",
    r"^\s*(0|[0-9][0-9.]*\s*([kKmMgGtTpPeE][iI]?[bB]?|[bB]))\s*$"
);
written_as_text!(
    Period,
    "Period",
    "a duration",
    "30s",
    r"^\s*([0-9]+\s*(ns|us|µs|ms|s|m|h|d|w|M|y|[a-z]{2,})\s*)+$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_printed_units() {
        for size in [0, 1, 1536, 127 << 20, 8 << 30, 1_000_000] {
            assert_eq!(ByteSize(size).to_string().parse(), Ok(ByteSize(size)));
        }
        for millis in [1, 200, 60_000, 90_000, 86_400_000] {
            let period = Period(Duration::from_millis(millis));
            assert_eq!(period.to_string().parse(), Ok(period));
        }
    }

    #[test]
    fn a_number_without_unit_is_refused_with_the_remedy() {
        assert!("64".parse::<ByteSize>().unwrap_err().contains("64MiB"));
        assert!("30".parse::<Period>().unwrap_err().contains("30s"));
    }
}
