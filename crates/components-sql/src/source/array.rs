//! Arrays of PostgreSQL in the binary format of its protocol.
//!
//! ```text
//!   dimensions | has NULL | type of an item | for each dimension: length, lower bound |
//!   for each item: length in bytes, or -1 for NULL | bytes
//! ```
//!
//! All numbers have 4 bytes, big-endian. An empty array has no dimension. Lower bounds are not
//! kept, as in the server's JSON.

/// PostgreSQL's maximum number of dimensions.
const DIMENSIONS_MAX: usize = 6;

/// An array whose header was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Array<'a> {
    /// Length of each dimension, the outermost first.
    lengths: [usize; DIMENSIONS_MAX],
    dimensions: usize,
    items: &'a [u8],
}

fn number(bytes: &mut &[u8]) -> Option<i32> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(i32::from_be_bytes(*first))
}

impl<'a> Array<'a> {
    /// Reads the header; `None` if the bytes are not an array.
    pub(super) fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let dimensions = usize::try_from(number(&mut bytes)?).ok()?;
        let (_has_null, _type) = (number(&mut bytes)?, number(&mut bytes)?);
        let mut lengths = [0; DIMENSIONS_MAX];
        for length in lengths.get_mut(..dimensions)? {
            *length = usize::try_from(number(&mut bytes)?).ok().filter(|length| *length > 0)?;
            let _lower_bound = number(&mut bytes)?;
        }
        Some(Self { lengths, dimensions, items: bytes })
    }

    /// Returns the number of dimensions; 0 for an empty array.
    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Passes each item to `take`, `None` for NULL; `None` if the bytes are malformed, or `take`
    /// returns it.
    pub(super) fn each(&self, mut take: impl FnMut(Option<&'a [u8]>) -> Option<()>) -> Option<()> {
        let mut rest = self.items;
        for _ in 0..self.count()? {
            take(match number(&mut rest)? {
                -1 => None,
                length => {
                    let (item, more) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                    rest = more;
                    Some(item)
                }
            })?;
        }
        rest.is_empty().then_some(())
    }

    /// Appends the array as JSON, with each item by `put`; `None` as in [`Array::each`].
    pub(super) fn put_json(
        &self,
        out: &mut Vec<u8>,
        mut put: impl FnMut(Option<&'a [u8]>, &mut Vec<u8>) -> Option<()>,
    ) -> Option<()> {
        if self.dimensions == 0 {
            out.extend_from_slice(b"[]");
        }
        let mut next = 0_usize;
        self.each(|item| {
            if next > 0 {
                out.push(b',');
            }
            out.extend(self.ends(next).map(|()| b'['));
            put(item, out)?;
            next += 1;
            out.extend(self.ends(next).map(|()| b']'));
            Some(())
        })
    }

    /// Returns an element for each dimension that ends before the item `at`.
    fn ends(&self, at: usize) -> impl Iterator<Item = ()> {
        let mut items = 1_usize;
        let inner_first = self.lengths[..self.dimensions].iter().rev();
        let ends = inner_first.map(move |length| {
            items = items.saturating_mul(*length);
            at.is_multiple_of(items)
        });
        ends.filter(|ends| *ends).map(|_| ())
    }

    /// Returns the number of items.
    fn count(&self) -> Option<usize> {
        let lengths = &self.lengths[..self.dimensions];
        let first = usize::from(self.dimensions > 0);
        lengths.iter().try_fold(first, |count, length| count.checked_mul(*length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(dimensions: &[i32], items: &[Option<&str>]) -> Vec<u8> {
        let mut out = Vec::new();
        let has_null = i32::from(items.contains(&None));
        for number in [dimensions.len() as i32, has_null, 25] {
            out.extend(number.to_be_bytes());
        }
        for length in dimensions {
            out.extend(length.to_be_bytes());
            out.extend(7_i32.to_be_bytes());
        }
        for item in items {
            out.extend(item.map_or(-1, |item| item.len() as i32).to_be_bytes());
            out.extend(item.unwrap_or_default().as_bytes());
        }
        out
    }

    fn json(bytes: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        Array::read(bytes)?.put_json(&mut out, |item, out| {
            out.extend_from_slice(item.unwrap_or(b"null"));
            Some(())
        })?;
        String::from_utf8(out).ok()
    }

    #[test]
    fn items_of_every_dimension_are_in_order() {
        let six: Vec<Option<&str>> = ["1", "2", "3", "4", "5", "6"].map(Some).to_vec();
        for (dimensions, items, expected) in [
            (&[][..], &[][..], "[]"),
            (&[1], &[None], "[null]"),
            (&[3], &[Some("1"), None, Some("")], "[1,null,]"),
            (&[2, 3], &six, "[[1,2,3],[4,5,6]]"),
            (&[1, 3, 2], &six, "[[[1,2],[3,4],[5,6]]]"),
            (&[1, 1, 1, 1, 1, 1], &[Some("1")], "[[[[[[1]]]]]]"),
        ] {
            let bytes = bytes(dimensions, items);
            assert_eq!(Array::read(&bytes).unwrap().dimensions(), dimensions.len());
            assert_eq!(json(&bytes).as_deref(), Some(expected));
        }
    }

    #[test]
    fn malformed_arrays_are_rejected() {
        let good = bytes(&[2], &[Some("ab"), None]);
        for end in 0..good.len() {
            assert_eq!(json(&good[..end]), None, "{end} bytes");
        }
        assert_eq!(json(&[&good[..], &[0]].concat()), None, "bytes after the last item");
        assert_eq!(json(&bytes(&[1; 7], &[None])), None, "too many dimensions");
        assert_eq!(json(&bytes(&[-1], &[])), None, "a negative length");
        assert_eq!(json(&bytes(&[i32::MAX; 6], &[None])), None, "more items than memory");
        let mut negative = bytes(&[1], &[None]);
        let length = negative.len() - 1;
        negative[length] = 0xfe;
        assert_eq!(json(&negative), None, "an item of length -2");
    }
}
