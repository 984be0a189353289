use super::*;

#[test]
fn nan_is_counted_and_outside_of_the_bounds() {
    let chunk = |values: u64, nans: Option<u64>, bounds: Option<(f64, f64)>| ColumnStatistics {
        id: 1,
        bytes: 1,
        values,
        nulls: Some(0),
        nans,
        bounds: bounds.map(|(low, high)| (BoundValue::Double(low), BoundValue::Double(high))),
    };
    let joined = join(&chunk(2, Some(2), None), &chunk(3, Some(1), Some((1.0, 2.0))));
    assert_eq!((joined.values, joined.nans), (5, Some(3)));
    assert_eq!(joined.bounds, Some((BoundValue::Double(1.0), BoundValue::Double(2.0))));
    let unknown = join(&chunk(2, None, None), &chunk(3, Some(0), Some((1.0, 2.0))));
    assert_eq!((unknown.nans, unknown.bounds), (None, None), "a bound may be missing");
    let only_nan = Statistics::double(Some(f64::NAN), Some(f64::NAN), None, Some(0), false);
    assert_eq!(bounds(&only_nan, false), None);
}

#[test]
fn damaged_footer_has_no_statistics() {
    assert_eq!(read(b""), FileEnd::Needs(8));
    assert_eq!(read(b"\x05\0\0\0PAR1"), FileEnd::Needs(13));
    assert_eq!(read(b"wrong\x05\0\0\0PAR1"), FileEnd::Statistics(Vec::new()));
}
