//! Checks tables of AMQP 0.9.1 before the library decodes them: it decodes recursively and uses
//! dozens of bytes for a value of one byte. Pure.

use kit::bounds::{Beyond, Count};
use thiserror::Error;

/// Reason why a table is not decoded.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    /// It exceeds a limit.
    #[error(transparent)]
    Beyond(#[from] Beyond),
    /// A value ends after its container.
    #[error(
        "an AMQP field table (such as message headers) ends within a value; correct the program \
         that wrote it"
    )]
    Cut,
    /// The type is unknown.
    #[error(
        "an AMQP field table (such as message headers) contains a value of the unknown type \
         0x{0:02x}; correct the program that wrote it"
    )]
    Type(u8),
}

/// Returns the number of values in the table at the beginning of `bytes`, including nested ones.
///
/// # Errors
/// Fails if it is invalid, or exceeds a limit.
pub(crate) fn check(bytes: &[u8]) -> Result<usize, Refused> {
    let mut count = Count::default();
    let mut at = 4;
    // End of each open list or table, and whether its values have names.
    let mut open = vec![(at + length(bytes, 0)?, true)];
    if open[0].0 > bytes.len() {
        return Err(Refused::Cut);
    }
    while let Some(&(end, has_names)) = open.last() {
        if at == end {
            open.pop();
            continue;
        }
        if has_names {
            at += 1 + usize::from(byte(bytes, at, end)?);
        }
        let kind = byte(bytes, at, end)?;
        at += 1;
        count.value(open.len())?;
        at += match kind {
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'U' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'L' | b'l' | b'd' | b'T' => 8,
            b'S' | b'x' => 4 + length(bytes, at)?,
            b'A' | b'F' => {
                let held = length(bytes, at)?;
                if at + 4 + held <= end {
                    open.push((at + 4 + held, kind == b'F'));
                }
                4
            }
            other => return Err(Refused::Type(other)),
        };
        if open.last().is_none_or(|(end, _)| at > *end) {
            return Err(Refused::Cut);
        }
    }
    Ok(count.values())
}

/// Returns the byte at `at`, in a list or table that ends at `end`.
fn byte(bytes: &[u8], at: usize, end: usize) -> Result<u8, Refused> {
    bytes.get(at).copied().filter(|_| at < end).ok_or(Refused::Cut)
}

/// Returns the length before a value.
fn length(bytes: &[u8], at: usize) -> Result<usize, Refused> {
    let length = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Refused::Cut)?;
    Ok(u32::from_be_bytes(*length) as usize)
}

/// Returns the table of headers in the properties of a message.
pub(crate) fn of_properties(properties: &[u8]) -> Option<&[u8]> {
    let (flags, mut rest) = properties.split_first_chunk()?;
    let flags = u16::from_be_bytes(*flags);
    // Content type and encoding come first.
    for flag in [15, 14] {
        if flags & (1 << flag) != 0 {
            rest = rest.get(1 + usize::from(*rest.first()?)..)?;
        }
    }
    (flags & (1 << 13) != 0).then_some(rest)
}

/// Returns the table in a method that a broker sends: its properties in the greeting.
///
/// # Errors
/// Fails for a method that only clients send: its table would not be checked.
pub(crate) fn of_method(method: &[u8]) -> Result<Option<&[u8]>, String> {
    let Some(&[a, b, c, d]) = method.first_chunk() else { return Ok(None) };
    match (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])) {
        // After the version of the protocol.
        (10, 10) => Ok(method.get(6..)),
        (10, 11) | (40, 10 | 30 | 40) | (50, 10 | 20 | 50) | (60, 20) => {
            Err("the broker sent a method that only clients may send".to_owned())
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kit::bounds::{DEPTH_MAX, VALUES_MAX};

    use super::*;

    /// Returns a table with one value of nested lists.
    pub(crate) fn nested(depth: usize) -> Vec<u8> {
        let mut value = vec![b'V'];
        for _ in 1..depth {
            let length = value.len() as u32;
            value.splice(0..0, [&b"A"[..], &length.to_be_bytes()].concat());
        }
        table(&[&b"\x01h"[..], &value].concat())
    }

    fn table(entries: &[u8]) -> Vec<u8> {
        [&(entries.len() as u32).to_be_bytes()[..], entries].concat()
    }

    #[test]
    fn counts_values_of_each_type_and_refuses_what_is_beyond_the_bounds() {
        let flat = b"\x01atx\0D12345\x01bS\0\0\0\x02hi".as_slice();
        let entries = [flat, b"\x01cF\0\0\0\x0b\x01dA\0\0\0\x04VVtx"].concat();
        assert_eq!(check(&table(&entries)), Ok(8));
        for cut in 1..entries.len() {
            // A truncated table may end between two values.
            let _ = check(&table(&entries[..cut]));
            assert_eq!(check(&table(&entries)[..4 + cut]), Err(Refused::Cut), "{cut}");
        }
        assert!(check(&nested(DEPTH_MAX - 1)).is_ok());
        assert_eq!(check(&nested(DEPTH_MAX)), Err(Refused::Beyond(Beyond::Depth)));
        assert_eq!(check(&nested(20_000)), Err(Refused::Beyond(Beyond::Depth)));
        let many = [&b"\x01hA"[..], &table(&vec![b'V'; VALUES_MAX + 1])].concat();
        assert_eq!(check(&table(&many)), Err(Refused::Beyond(Beyond::Values)));
        assert_eq!(check(&table(b"\x01h?")), Err(Refused::Type(b'?')));
    }
}
