use proptest::prelude::*;

use super::*;

fn statistics(lower: BoundValue, upper: BoundValue) -> ColumnStatistics {
    let bounds = Some((lower, upper));
    ColumnStatistics { id: 1, bytes: 1, values: 2, nulls: Some(0), nans: None, bounds }
}

fn parsed(name: &str, kind: &str) -> (Transform, Source) {
    let source = Source::parse(kind).unwrap();
    (Transform::parse(name, source).unwrap(), source)
}

fn of(name: &str, kind: &str, value: &BoundValue) -> PartitionValue {
    let (transform, source) = parsed(name, kind);
    transform.of(source, value).unwrap()
}

#[test]
fn values_are_those_of_the_specification() {
    let int = PartitionValue::Int;
    let time = 1_510_871_468_000_000;
    for (name, kind, value, expected) in [
        ("year", "date", BoundValue::Int(17_486), int(47)),
        ("month", "date", BoundValue::Int(17_486), int(574)),
        ("day", "date", BoundValue::Int(17_486), int(17_486)),
        ("year", "timestamptz", BoundValue::Long(time), int(47)),
        ("month", "timestamptz", BoundValue::Long(time), int(574)),
        ("day", "timestamptz", BoundValue::Long(time), int(17_486)),
        ("hour", "timestamptz", BoundValue::Long(time), int(419_686)),
        ("year", "timestamptz", BoundValue::Long(-1), int(-1)),
        ("month", "timestamptz", BoundValue::Long(-1), int(-1)),
        ("day", "timestamptz", BoundValue::Long(-1), int(-1)),
        ("hour", "timestamptz", BoundValue::Long(-1), int(-1)),
        ("truncate[10]", "int", BoundValue::Int(1), int(0)),
        ("truncate[10]", "int", BoundValue::Int(-1), int(-10)),
        ("truncate[10]", "long", BoundValue::Int(-1), PartitionValue::Long(-10)),
        ("truncate[3]", "string", BoundValue::Bytes(b"iceberg".to_vec()), {
            PartitionValue::Text("ice".to_owned())
        }),
        ("truncate[1]", "string", BoundValue::Bytes("äb".into()), {
            PartitionValue::Text("ä".to_owned())
        }),
        ("truncate[2]", "binary", BoundValue::Bytes(vec![1, 2, 3]), {
            PartitionValue::Bytes(vec![1, 2])
        }),
        ("identity", "timestamptz", BoundValue::Long(9), PartitionValue::Long(9)),
    ] {
        assert_eq!(of(name, kind, &value), expected, "{name} {kind}");
    }
}

#[test]
fn hashes_are_those_of_the_specification() {
    for (bytes, expected) in [
        (&34_i64.to_le_bytes()[..], 2_017_239_379_i32),
        (&17_486_i64.to_le_bytes(), -653_330_422),
        (&1_510_871_468_000_000_i64.to_le_bytes(), -2_047_944_441),
        (b"iceberg", 1_210_000_089),
        (&[0, 1, 2, 3], -188_683_207),
    ] {
        assert_eq!(murmur3(bytes) as i32, expected, "{bytes:?}");
    }
    let bucket = of("bucket[16]", "int", &BoundValue::Int(34));
    assert_eq!(bucket, PartitionValue::Int(2_017_239_379 % 16));
    let negative = of("bucket[100]", "date", &BoundValue::Int(17_486));
    assert_eq!(negative, PartitionValue::Int((-653_330_422 & i32::MAX) % 100));
}

#[test]
fn value_is_certain_only_if_both_bounds_have_it() {
    let hour = |lower, upper| {
        let (transform, source) = parsed("hour", "timestamptz");
        let column = statistics(BoundValue::Long(lower), BoundValue::Long(upper));
        transform.of_all(source, Some(&column))
    };
    assert_eq!(hour(0, HOUR - 1), Some(Some(PartitionValue::Int(0))));
    assert_eq!(hour(0, HOUR), None);
    let (transform, source) = parsed("bucket[1]", "long");
    let column = |lower, upper| statistics(BoundValue::Long(lower), BoundValue::Long(upper));
    assert_eq!(transform.of_all(source, Some(&column(1, 2))), None);
    let same = transform.of_all(source, Some(&column(2, 2)));
    assert_eq!(same, Some(Some(PartitionValue::Int(0))));
    let with = |nulls, values| ColumnStatistics { nulls, values, ..column(2, 2) };
    let (identity, source) = parsed("identity", "long");
    assert_eq!(identity.of_all(source, Some(&with(Some(2), 2))), Some(None), "only nulls");
    assert_eq!(identity.of_all(source, Some(&with(Some(1), 2))), None, "some nulls");
    assert_eq!(identity.of_all(source, Some(&with(None, 2))), None, "perhaps nulls");
    assert_eq!(identity.of_all(source, None), None, "no statistics");
    let (void, source) = parsed("void", "string");
    assert_eq!(void.of_all(source, None), Some(None));
}

#[test]
fn transforms_apply_to_some_types_only() {
    for (name, kind) in [
        ("hour", "date"),
        ("day", "long"),
        ("truncate[3]", "timestamptz"),
        ("truncate[0]", "string"),
        ("bucket[0]", "string"),
        ("bucket[99999999999]", "string"),
        ("bucket", "string"),
        ("other", "string"),
    ] {
        let source = Source::parse(kind).unwrap();
        assert_eq!(Transform::parse(name, source), None, "{name} {kind}");
    }
    assert_eq!(Source::parse("double"), None);
}

proptest! {
    #[test]
    fn certain_value_is_the_value_of_every_row(
        numbers in proptest::collection::vec(-(1_i64 << 52)..1 << 52, 1..5),
        near: bool,
        texts in proptest::collection::vec("[ab]{0,4}", 1..4),
    ) {
        // Near each other, so that some of them have the same value.
        let numbers = numbers.iter().map(|it| if near { it % HOUR } else { *it });
        let numbers: Vec<i64> = numbers.collect();
        for (name, kind) in [
            ("hour", "timestamptz"), ("day", "timestamp"), ("month", "timestamptz"),
            ("year", "timestamptz"), ("truncate[1000000000]", "long"), ("bucket[3]", "long"),
            ("identity", "long"),
        ] {
            let (transform, source) = parsed(name, kind);
            let (low, high) = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
            let column = statistics(BoundValue::Long(*low), BoundValue::Long(*high));
            if let Some(certain) = transform.of_all(source, Some(&column)) {
                for number in &numbers {
                    let own = transform.of(source, &BoundValue::Long(*number));
                    prop_assert_eq!(&own, &certain, "{} of {}", name, number);
                }
            }
        }
        for name in ["truncate[1]", "truncate[3]", "identity", "bucket[3]"] {
            let (transform, source) = parsed(name, "string");
            let bound = |text: Option<&String>| BoundValue::Bytes(text.unwrap().clone().into());
            let column = statistics(bound(texts.iter().min()), bound(texts.iter().max()));
            if let Some(certain) = transform.of_all(source, Some(&column)) {
                for text in &texts {
                    prop_assert_eq!(&transform.of(source, &bound(Some(text))), &certain);
                }
            }
        }
    }
}
