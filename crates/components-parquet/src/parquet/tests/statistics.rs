//! Goal: bounds contain every value of a file, and counts are right, for any values and row groups.

use pipeline::testkit::file_of;
use pipeline::{Batch, BoundValue, ColumnStatistics, FileEnd};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::encoder;
use crate::parquet::statistics::read;

fn settings() -> Value {
    json!({ "row_group_size": "64KiB", "columns": [
        { "name": "bool", "type": "bool" },
        { "name": "int", "type": "int32" },
        { "name": "long", "type": "int64" },
        { "name": "float", "type": "float" },
        { "name": "double", "type": "double" },
        { "name": "small", "type": "decimal", "precision": 9, "scale": 2 },
        { "name": "medium", "type": "decimal", "precision": 18, "scale": 2 },
        { "name": "large", "type": "decimal", "precision": 38, "scale": 2 },
        { "name": "text", "type": "string" },
        { "name": "data", "type": "bytes" },
        { "name": "json", "type": "json", "from": "text" },
        { "name": "day", "type": "date" },
        { "name": "at", "type": "timestamp_micros", "field_id": 70 },
    ] })
}

/// A row: the value of each column as JSON, and as a bound.
fn row(number: i64, text: &str, is_null: [bool; 3]) -> (Value, Vec<Option<BoundValue>>) {
    let small = i32::try_from(number % 999_999_999).unwrap();
    let (int, day) = (number as i32, (number % 700_000) as i32);
    let (float, at) = (number as f32 / 7.0, number % 100_000_000_000_000_000);
    let double = number as f64 / 7.0;
    let decimal = |digits: i64| {
        let sign = if digits < 0 { "-" } else { "" };
        format!("{sign}{}.{:02}", digits.unsigned_abs() / 100, digits.unsigned_abs() % 100)
    };
    let medium = number % 999_999_999_999_999_999;
    let date = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(day);
    let body = json!({
        "bool": number % 2 == 0, "int": int, "long": number, "float": float, "double": double,
        "small": decimal(small.into()), "medium": decimal(medium), "large": decimal(number),
        "text": text, "data": text, "day": date.to_string(),
        "at": jiff::Timestamp::from_microsecond(at).unwrap().to_string(),
    });
    let quoted = Value::from(text).to_string();
    let bounds = [
        BoundValue::Bool(number % 2 == 0),
        BoundValue::Int(int),
        BoundValue::Long(number),
        BoundValue::Float(float),
        BoundValue::Double(double),
        BoundValue::Decimal(small.into()),
        BoundValue::Decimal(medium.into()),
        BoundValue::Decimal(number.into()),
        BoundValue::Bytes(text.into()),
        BoundValue::Bytes(text.into()),
        BoundValue::Bytes(quoted.into()),
        BoundValue::Int(day),
        BoundValue::Long(at),
    ];
    let (mut body, mut bounds) = (body, bounds.map(Some).to_vec());
    for (name, columns, is_null) in [
        ("text", &[8, 10][..], is_null[0]),
        ("long", &[2], is_null[1]),
        ("float", &[3], is_null[2]),
    ] {
        if is_null {
            body.as_object_mut().unwrap().remove(name);
            columns.iter().for_each(|at| bounds[*at] = None);
        }
    }
    (body, bounds)
}

/// Reads the end of a file, in as many steps as necessary.
fn statistics(file: &[u8]) -> Vec<ColumnStatistics> {
    let mut bytes = 1;
    loop {
        match read(&file[file.len() - bytes..]) {
            FileEnd::Needs(more) => {
                assert!(more as usize > bytes, "it needs more");
                bytes = more as usize;
            }
            FileEnd::Statistics(columns) => return columns,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn bounds_contain_every_value_and_counts_are_right(
        rows in proptest::collection::vec(
            (any::<i64>(), "(\\PC{0,3}|\\PC{30,90}|[\u{10ffff}\u{7f}]{60,70})", any::<[bool; 3]>()),
            1..40,
        ),
        times in 1_usize..60,
    ) {
        let rows = rows.iter().map(|(number, text, nulls)| row(*number, text, *nulls));
        let rows: Vec<_> = rows.collect();
        let bodies: Vec<String> = rows.iter().map(|(body, _)| body.to_string()).collect();
        // Large files have several row groups.
        let batches: Vec<Batch> = (0..times).map(|_| Batch::of(&bodies)).collect();
        let file = file_of(&*encoder(&settings()), &batches);
        let columns = statistics(&file);
        let ids: Vec<i32> = columns.iter().map(|column| column.id).collect();
        prop_assert_eq!(ids, (1..=12).chain([70]).collect::<Vec<_>>());
        for (at, column) in columns.iter().enumerate() {
            let nulls = rows.iter().filter(|(_, bounds)| bounds[at].is_none()).count() * times;
            prop_assert_eq!(column.values, (rows.len() * times) as u64);
            prop_assert_eq!(column.nulls, Some(nulls as u64));
            prop_assert_eq!(column.nans, matches!(at, 3 | 4).then_some(0));
            let values: Vec<_> = rows.iter().filter_map(|(_, bounds)| bounds[at].clone()).collect();
            let Some((low, high)) = &column.bounds else {
                let is_cut = matches!(at, 8..=10);
                prop_assert!(values.is_empty() || is_cut, "column {at} has no bounds");
                continue;
            };
            for value in values {
                prop_assert!(low.compare(&value).unwrap().is_le(), "{at}: {low:?} {value:?}");
                prop_assert!(high.compare(&value).unwrap().is_ge(), "{at}: {high:?} {value:?}");
            }
        }
    }
}
