use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;

/// Returns both bounds of a value.
fn bounds(kind: &str, value: &BoundValue) -> [Option<Vec<u8>>; 2] {
    [Side::Lower, Side::Upper].map(|side| bound(kind, value, side))
}

/// Reads a decimal, as readers do.
fn decimal(bytes: &[u8]) -> i128 {
    let negative = bytes[0] >> 7 == 1;
    bytes.iter().fold(if negative { -1 } else { 0 }, |whole, byte| whole << 8 | i128::from(*byte))
}

#[test]
fn bounds_have_the_binary_form_of_their_type() {
    for (kind, value, expected) in [
        ("boolean", BoundValue::Bool(true), &[1][..]),
        ("int", BoundValue::Int(-2), &[254, 255, 255, 255]),
        ("date", BoundValue::Int(258), &[2, 1, 0, 0]),
        ("long", BoundValue::Int(-2), &[254, 255, 255, 255, 255, 255, 255, 255]),
        ("timestamptz", BoundValue::Long(1), &[1, 0, 0, 0, 0, 0, 0, 0]),
        ("float", BoundValue::Float(1.0), &[0, 0, 128, 63]),
        ("double", BoundValue::Float(1.0), &[0, 0, 0, 0, 0, 0, 240, 63]),
        ("decimal(9,2)", BoundValue::Decimal(127), &[127]),
        ("decimal(9,2)", BoundValue::Decimal(128), &[0, 128]),
        ("decimal(9,2)", BoundValue::Decimal(-128), &[128]),
        ("decimal(9,2)", BoundValue::Decimal(-129), &[255, 127]),
        ("decimal(9,2)", BoundValue::Decimal(0), &[0]),
        ("string", BoundValue::Bytes(b"abc".to_vec()), b"abc"),
        ("binary", BoundValue::Bytes(vec![255; 16]), &[255; 16]),
    ] {
        assert_eq!(
            bounds(kind, &value),
            [Some(expected.to_vec()), Some(expected.to_vec())],
            "{kind}"
        );
    }
    for (kind, value) in [("int", BoundValue::Long(1)), ("uuid", BoundValue::Bytes(vec![1; 16]))] {
        assert_eq!(bounds(kind, &value), [None, None], "{kind}");
    }
    let zero = bounds("double", &BoundValue::Double(0.0));
    assert_eq!(zero, [-0.0_f64, 0.0].map(|it| Some(it.to_le_bytes().to_vec())));
}

#[test]
fn long_bounds_are_cut_and_upper_ones_rounded_up_or_absent() {
    let text = |text: &str| bounds("string", &BoundValue::Bytes(text.as_bytes().to_vec()));
    let some = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(text("0123456789abcdef"), [some("0123456789abcdef"), some("0123456789abcdef")]);
    assert_eq!(text("0123456789abcdefg"), [some("0123456789abcdef"), some("0123456789abcdeg")]);
    let last = '\u{10ffff}'.to_string();
    let almost = format!("a{}", last.repeat(20));
    assert_eq!(text(&almost)[1], some("b"));
    assert_eq!(text(&last.repeat(17))[1], None);
    let surrogates = "0123456789abcde\u{d7ff}x";
    assert_eq!(text(surrogates)[1], some("0123456789abcde\u{e000}"));
    let cut = bounds("string", &BoundValue::Bytes(b"a\xc3".to_vec()));
    assert_eq!(cut, [some("a"), None], "a character is not whole");
    let bytes = |bytes: &[u8]| bounds("binary", &BoundValue::Bytes(bytes.to_vec()));
    assert_eq!(bytes(&[255; 17]), [Some(vec![255; 16]), None]);
    let mut long = vec![7];
    long.extend([255; 16]);
    assert_eq!(bytes(&long)[1], Some(vec![8]));
}

proptest! {
    #[test]
    fn bounds_contain_every_text_and_bytes(text in "\\PC{0,24}", bytes: Vec<u8>) {
        for (kind, value) in [("string", text.into_bytes()), ("binary", bytes)] {
            let [lower, upper] = bounds(kind, &BoundValue::Bytes(value.clone()));
            prop_assert!(lower.unwrap() <= value);
            prop_assert!(upper.is_none_or(|upper| upper >= value));
        }
    }

    #[test]
    fn decimals_are_read_as_written(digits: i128) {
        for digits in [digits, digits >> 64, digits >> 100, digits >> 120] {
            let written = shortest(digits);
            prop_assert_eq!(decimal(&written).cmp(&digits), Ordering::Equal);
            prop_assert!(written.len() == 1 || decimal(&written[1..]) != digits, "shorter");
        }
    }
}
