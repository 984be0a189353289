//! Finds the row of the narrowest network or address range that contains an address.
//!
//! Overlapping ranges are split into disjoint pieces once, when the table is read. A piece consists
//! of its first address and its row, 8 bytes for IPv4 and 20 for IPv6. The pieces are sorted, and a
//! binary search finds an address without further memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// No row: addresses between ranges.
const NONE: u32 = u32::MAX;

/// First and last address of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    V4(u32, u32),
    V6(u128, u128),
}

impl Range {
    /// Parses a network, `203.0.113.0/24`, or a single address.
    pub(super) fn network(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.trim().split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits)),
        };
        let address = address.trim().parse::<IpAddr>();
        let address =
            address.map_err(|_| format!("`{text}` is neither an IP address nor a network"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok());
        let Some(bits) = bits.filter(|bits| *bits <= most) else {
            return Err(format!("`{text}`: the number after the slash must be at most {most}"));
        };
        let range = match address {
            IpAddr::V4(address) => {
                let rest = u32::MAX.checked_shr(bits).unwrap_or(0);
                let first = address.to_bits();
                (first & rest == 0).then_some(Self::V4(first, first | rest))
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
                let first = address.to_bits();
                (first & rest == 0).then_some(Self::V6(first, first | rest))
            }
        };
        let range = range.map(Self::shortened);
        range.ok_or_else(|| {
            format!("`{text}`: the bits of the address after the first {bits} must be 0")
        })
    }

    /// Parses a range; both ends are addresses or, as in IP2Location, numbers.
    pub(super) fn between(from: &str, to: &str) -> Result<Self, String> {
        let bound = |text: &str| -> Result<(u128, bool), String> {
            match text.trim().parse::<IpAddr>() {
                Ok(IpAddr::V4(address)) => Ok((u128::from(address.to_bits()), true)),
                Ok(IpAddr::V6(address)) => Ok((address.to_bits(), false)),
                Err(_) => {
                    let number = text.trim().parse::<u128>();
                    let number = number.map_err(|_| format!("`{text}` is not an IP address"))?;
                    Ok((number, u32::try_from(number).is_ok()))
                }
            }
        };
        let ((first, _), (last, is_v4)) = (bound(from)?, bound(to)?);
        let is_v6 = |text: &str| text.contains(':');
        let is_mixed = is_v6(to) != is_v6(from) && (from.contains('.') || is_v6(from));
        if first > last || is_mixed {
            return Err(format!("`{from}` to `{to}` is not a range of IP addresses"));
        }
        match (u32::try_from(first), u32::try_from(last)) {
            (Ok(first), Ok(last)) if is_v4 => Ok(Self::V4(first, last)),
            _ => Ok(Self::V6(first, last).shortened()),
        }
    }

    /// Converts IPv4-mapped IPv6 addresses to IPv4.
    fn shortened(self) -> Self {
        let Self::V6(first, last) = self else { return self };
        let short = |bits| Ipv6Addr::from_bits(bits).to_ipv4_mapped().map(Ipv4Addr::to_bits);
        match (short(first), short(last)) {
            (Some(first), Some(last)) => Self::V4(first, last),
            _ => self,
        }
    }
}

/// Pieces of one address family, sorted.
#[derive(Debug, Default)]
struct Pieces<A> {
    firsts: Vec<A>,
    rows: Vec<u32>,
}

impl<A: Copy + Ord> Pieces<A> {
    fn row(&self, address: A) -> Option<u32> {
        let at = self.firsts.partition_point(|first| *first <= address).checked_sub(1)?;
        Some(self.rows[at]).filter(|row| *row != NONE)
    }

    fn begin(&mut self, first: A, row: u32) {
        // A piece with the same first address is empty.
        if self.firsts.last() == Some(&first) {
            self.firsts.pop();
            self.rows.pop();
        }
        if self.rows.last().copied().unwrap_or(NONE) != row {
            self.firsts.push(first);
            self.rows.push(row);
        }
    }

    /// Splits ranges into pieces. `next` returns the next address.
    ///
    /// # Errors
    /// Returns the rows of two ranges that are equal, or overlap without one containing the other.
    fn cut(mut ranges: Vec<(A, A, u32)>, next: fn(A) -> Option<A>) -> Result<Self, (u32, u32)> {
        // Sort a range before the ranges in it.
        ranges.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut pieces = Self { firsts: Vec::new(), rows: Vec::new() };
        let mut open: Vec<(A, u32)> = Vec::new();
        let close = |pieces: &mut Self, open: &mut Vec<(A, u32)>, until: Option<A>| {
            while let Some((last, _)) = open.pop_if(|(last, _)| until.is_none_or(|it| *last < it)) {
                if let Some(first) = next(last) {
                    pieces.begin(first, open.last().map_or(NONE, |(_, row)| *row));
                }
            }
        };
        for (at, (first, last, row)) in ranges.iter().copied().enumerate() {
            close(&mut pieces, &mut open, Some(first));
            let twin = at.checked_sub(1).map(|before| ranges[before]);
            let twin = twin.filter(|twin| (twin.0, twin.1) == (first, last)).map(|twin| twin.2);
            let cut = open.last().filter(|(end, _)| *end < last).map(|(_, row)| *row);
            if let Some(other) = twin.or(cut) {
                return Err((other.min(row), other.max(row)));
            }
            pieces.begin(first, row);
            open.push((last, row));
        }
        close(&mut pieces, &mut open, None);
        Ok(pieces)
    }

    /// Replaces rows, and joins neighbours with equal rows.
    fn with_rows(self, row: impl Fn(u32) -> u32) -> Self {
        let mut pieces = Self { firsts: Vec::new(), rows: Vec::new() };
        for (first, at) in self.firsts.into_iter().zip(self.rows) {
            pieces.begin(first, row(at));
        }
        pieces.firsts.shrink_to_fit();
        pieces.rows.shrink_to_fit();
        pieces
    }
}

/// Ranges of both address families, each with a row.
#[derive(Debug, Default)]
pub(super) struct Networks {
    v4: Pieces<u32>,
    v6: Pieces<u128>,
}

impl Networks {
    /// Creates the search structure from ranges and their rows.
    ///
    /// # Errors
    /// Returns the indexes of two ranges that are equal, or overlap without one containing the
    /// other.
    pub(super) fn new(all: &[(Range, u32)]) -> Result<Self, (usize, usize)> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (at, (range, _)) in (0..).zip(all) {
            match *range {
                Range::V4(first, last) => v4.push((first, last, at)),
                Range::V6(first, last) => v6.push((first, last, at)),
            }
        }
        let places = |(one, other): (u32, u32)| (one as usize, other as usize);
        let v4 = Pieces::cut(v4, |it| it.checked_add(1)).map_err(places)?;
        let v6 = Pieces::cut(v6, |it| it.checked_add(1)).map_err(places)?;
        let row = |at: u32| all.get(at as usize).map_or(NONE, |(_, row)| *row);
        Ok(Self { v4: v4.with_rows(row), v6: v6.with_rows(row) })
    }

    /// Returns the row of the narrowest range that contains the address.
    pub(super) fn row(&self, address: &str) -> Option<u32> {
        match address.parse::<IpAddr>().ok()?.to_canonical() {
            IpAddr::V4(address) => self.v4.row(address.to_bits()),
            IpAddr::V6(address) => self.v6.row(address.to_bits()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks_and_ranges_are_read_as_tables_write_them() {
        for (text, expected) in [
            ("1.0.0.0/24", Range::V4(0x0100_0000, 0x0100_00ff)),
            ("0.0.0.0/0", Range::V4(0, u32::MAX)),
            ("10.1.2.3", Range::V4(0x0a01_0203, 0x0a01_0203)),
            ("2001:db8::/32", Range::V6(0x2001_0db8 << 96, (0x2001_0db9 << 96) - 1)),
            ("::/0", Range::V6(0, u128::MAX)),
            ("::ffff:1.0.0.0/120", Range::V4(0x0100_0000, 0x0100_00ff)),
        ] {
            assert_eq!(Range::network(text), Ok(expected), "{text}");
        }
        for (from, to, expected) in [
            ("1.0.0.0", "1.0.0.255", Range::V4(0x0100_0000, 0x0100_00ff)),
            ("16777216", "16777471", Range::V4(0x0100_0000, 0x0100_00ff)),
            ("281470698520576", "281470698520831", Range::V4(0x0100_0000, 0x0100_00ff)),
            ("0", "281470681743359", Range::V6(0, 0xfffe_ffff_ffff)),
            ("2001:db8::", "2001:db8::f", Range::V6(0x2001_0db8 << 96, (0x2001_0db8 << 96) + 15)),
        ] {
            assert_eq!(Range::between(from, to), Ok(expected), "{from} {to}");
        }
        for text in [
            "",
            "a",
            "1.0.0.0/33",
            "1.0.0.0/",
            "1.0.0.1/24",
            "2001:db8::/129",
            "2001:db8::1/32",
            "1.0.0",
        ] {
            assert!(Range::network(text).is_err(), "{text}");
        }
        for (from, to) in [
            ("1.0.0.2", "1.0.0.1"),
            ("", "1.0.0.1"),
            ("x", "y"),
            ("-1", "5"),
            ("1.0.0.0", "2001:db8::"),
            ("::1", "5"),
        ] {
            assert!(Range::between(from, to).is_err(), "{from} {to}");
        }
    }

    #[test]
    fn ranges_that_contradict_each_other_are_named() {
        let all = |texts: &[&str]| -> Vec<(Range, u32)> {
            let range = |text: &&str| match text.split_once('-') {
                Some((from, to)) => Range::between(from, to).unwrap(),
                None => Range::network(text).unwrap(),
            };
            texts.iter().map(range).zip(0..).collect()
        };
        for (texts, expected) in [
            (&["1.0.0.0/24", "2.0.0.0/24", "1.0.0.0/24"][..], (0, 2)),
            (&["1.0.0.0-1.0.0.9", "1.0.0.5-1.0.0.12"], (0, 1)),
            (&["2001:db8::/32", "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"], (0, 1)),
        ] {
            assert_eq!(Networks::new(&all(texts)).unwrap_err(), expected, "{texts:?}");
        }
    }

    proptest! {
        /// A linear search finds the same.
        #[test]
        fn the_narrowest_range_that_holds_an_address_is_found(
            networks in prop::collection::vec((any::<u8>(), 20u32..=32), 0..24),
            far in prop::collection::vec((any::<u8>(), 116u32..=128), 0..12),
            edges in any::<bool>(),
        ) {
            let mut all: Vec<(Range, u32)> = Vec::new();
            let mut add = |text: String| {
                let range = Range::network(&text).unwrap();
                if all.iter().all(|(known, _)| *known != range) {
                    all.push((range, all.len() as u32));
                }
            };
            let high = if edges { 0xffff_ff00u32 } else { 0x0a00_0000 };
            for (low, bits) in networks {
                let first = (high | u32::from(low)) & !u32::MAX.checked_shr(bits).unwrap_or(0);
                add(format!("{}/{bits}", Ipv4Addr::from_bits(first)));
            }
            for (low, bits) in far {
                let first = (u128::MAX - 255 + u128::from(low))
                    & !u128::MAX.checked_shr(bits).unwrap_or(0);
                add(format!("{}/{bits}", Ipv6Addr::from_bits(first)));
            }
            let built = Networks::new(&all).unwrap();
            for low in 0..=255u32 {
                for address in [
                    IpAddr::V4(Ipv4Addr::from_bits(high | low)),
                    IpAddr::V4(Ipv4Addr::from_bits((high | low).wrapping_sub(256))),
                    IpAddr::V6(Ipv6Addr::from_bits(u128::MAX - u128::from(low))),
                    IpAddr::V6(Ipv6Addr::from_bits(u128::from(low))),
                ] {
                    let held = all.iter().filter_map(|(range, row)| match (*range, address) {
                        (Range::V4(first, last), IpAddr::V4(it)) => {
                            let holds = (first..=last).contains(&it.to_bits());
                            holds.then_some((u128::from(last - first), *row))
                        }
                        (Range::V6(first, last), IpAddr::V6(it)) => {
                            let holds = (first..=last).contains(&it.to_bits());
                            holds.then_some((last - first, *row))
                        }
                        _ => None,
                    });
                    let expected = held.min().map(|(_, row)| row);
                    prop_assert_eq!(built.row(&address.to_string()), expected, "{}", address);
                }
            }
        }
    }
}
