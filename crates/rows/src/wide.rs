//! Whole numbers of 256 bits, for decimals with 39 to 76 digits.

/// A signed number of 256 bits in two's complement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wide {
    /// The bits, lowest first.
    limbs: [u64; 4],
}

/// Maximum number of digits of a decimal.
pub(crate) const DIGITS_MAX: u8 = 76;

/// Largest power of ten in 64 bits, and its exponent.
const CHUNK: u64 = 10_000_000_000_000_000_000;
const CHUNK_DIGITS: usize = 19;

/// Powers of ten.
const POWERS: [[u64; 4]; DIGITS_MAX as usize + 1] = {
    let mut powers = [[1, 0, 0, 0]; DIGITS_MAX as usize + 1];
    let mut at = 1;
    while at < powers.len() {
        (powers[at], _) = times(powers[at - 1], 10, 0);
        at += 1;
    }
    powers
};

/// Returns `limbs * factor + more`, and the bits above.
const fn times(limbs: [u64; 4], factor: u64, more: u64) -> ([u64; 4], u64) {
    let (mut out, mut carry, mut at) = ([0; 4], more as u128, 0);
    while at < 4 {
        carry += limbs[at] as u128 * factor as u128;
        out[at] = carry as u64;
        carry >>= 64;
        at += 1;
    }
    (out, carry as u64)
}

/// Divides in place and returns the remainder.
fn divide(limbs: &mut [u64; 4], by: u64) -> u64 {
    let mut rest = 0_u128;
    for limb in limbs.iter_mut().rev() {
        let part = rest << 64 | u128::from(*limb);
        *limb = (part / u128::from(by)) as u64;
        rest = part % u128::from(by);
    }
    rest as u64
}

fn is_less(left: [u64; 4], right: [u64; 4]) -> bool {
    left.iter().rev().lt(right.iter().rev())
}

impl Wide {
    /// The smallest number, which represents NaN.
    pub const MIN: Self = Self { limbs: [0, 0, 0, 1 << 63] };

    /// Creates it from 32 bytes, lowest first.
    pub fn from_le_bytes(bytes: [u8; 32]) -> Self {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(bytes.as_chunks().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        Self { limbs }
    }

    /// Creates it from a number in two's complement, highest byte first; `None` if it has more
    /// bits.
    pub fn from_be_bytes(bytes: &[u8]) -> Option<Self> {
        let is_negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        let fill = if is_negative { 0xff } else { 0 };
        let (more, bytes) = bytes.split_at(bytes.len().saturating_sub(32));
        let mut low_first = [fill; 32];
        for (to, from) in low_first.iter_mut().zip(bytes.iter().rev()) {
            *to = *from;
        }
        let number = Self::from_le_bytes(low_first);
        let fits = more.iter().all(|byte| *byte == fill) && number.is_negative() == is_negative;
        fits.then_some(number)
    }

    /// Creates it from decimal digits; `None` if there are other characters, no digits, or more
    /// than 76 significant ones.
    pub fn from_digits(is_negative: bool, digits: &str) -> Option<Self> {
        let significant = digits.trim_start_matches('0');
        if digits.is_empty() || significant.len() > usize::from(DIGITS_MAX) {
            return None;
        }
        let mut limbs = [0; 4];
        for byte in significant.bytes() {
            let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
            (limbs, _) = times(limbs, 10, digit.into());
        }
        Some(Self { limbs }.negated_if(is_negative))
    }

    /// Returns 32 bytes, lowest first.
    pub fn to_le_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (to, limb) in bytes.as_chunks_mut().0.iter_mut().zip(self.limbs) {
            *to = limb.to_le_bytes();
        }
        bytes
    }

    /// Returns the number in 128 bits, if it fits.
    pub fn to_i128(self) -> Option<i128> {
        let [a, b, c, d] = self.limbs;
        let low = (u128::from(b) << 64 | u128::from(a)) as i128;
        let fill = if low < 0 { u64::MAX } else { 0 };
        (c == fill && d == fill).then_some(low)
    }

    /// Returns whether it is less than 0.
    pub fn is_negative(self) -> bool {
        self.limbs[3] >> 63 != 0
    }

    /// Returns whether it has at most this many decimal digits.
    pub fn fits(self, digits: u8) -> bool {
        let power = POWERS.get(usize::from(digits));
        power.is_none_or(|power| is_less(self.magnitude(), *power))
    }

    /// Multiplies it by a power of ten; `None` if the result has more than 76 digits.
    pub fn scaled_up(self, zeros: u8) -> Option<Self> {
        let room = DIGITS_MAX.checked_sub(zeros)?;
        if !self.fits(room) {
            return None;
        }
        let mut limbs = self.magnitude();
        for _ in 0..zeros {
            (limbs, _) = times(limbs, 10, 0);
        }
        Some(Self { limbs }.negated_if(self.is_negative()))
    }

    /// Divides it by a power of ten; `None` if there is a remainder.
    pub fn scaled_down(self, zeros: u8) -> Option<Self> {
        let mut limbs = self.magnitude();
        for _ in 0..zeros {
            if divide(&mut limbs, 10) != 0 {
                return None;
            }
        }
        Some(Self { limbs }.negated_if(self.is_negative()))
    }

    /// Appends its digits without a sign, at least this many.
    pub(crate) fn put_digits(self, at_least: usize, out: &mut Vec<u8>) {
        let mut limbs = self.magnitude();
        let mut digits = [b'0'; 5 * CHUNK_DIGITS];
        let mut first = digits.len();
        for chunk in digits.rchunks_mut(CHUNK_DIGITS) {
            let mut rest = divide(&mut limbs, CHUNK);
            for digit in chunk.iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        first = digits.iter().position(|digit| *digit != b'0').unwrap_or(first);
        out.extend_from_slice(&digits[first.min(digits.len() - at_least.min(digits.len()))..]);
    }

    fn magnitude(self) -> [u64; 4] {
        self.negated_if(self.is_negative()).limbs
    }

    fn negated_if(self, is_wanted: bool) -> Self {
        if !is_wanted {
            return self;
        }
        let (mut limbs, mut carry) = (self.limbs, true);
        for limb in &mut limbs {
            (*limb, carry) = (!*limb).overflowing_add(carry.into());
        }
        Self { limbs }
    }
}

impl From<i128> for Wide {
    fn from(number: i128) -> Self {
        let fill = if number < 0 { u64::MAX } else { 0 };
        Self { limbs: [number as u64, (number >> 64) as u64, fill, fill] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(number: Wide) -> String {
        let mut out = Vec::new();
        number.put_digits(1, &mut out);
        let digits = String::from_utf8(out).unwrap();
        if number.is_negative() { format!("-{digits}") } else { digits }
    }

    proptest! {
        /// The standard library knows the numbers of 128 bits.
        #[test]
        fn numbers_of_128_bits_are_the_same(number in any::<i128>(), zeros in 0..38_u8) {
            let wide = Wide::from(number);
            prop_assert_eq!(text(wide), number.to_string());
            prop_assert_eq!(wide.to_i128(), Some(number));
            prop_assert_eq!(Wide::from_le_bytes(wide.to_le_bytes()), wide);
            prop_assert_eq!(Wide::from_be_bytes(&number.to_be_bytes()), Some(wide));
            let digits = number.unsigned_abs().to_string();
            prop_assert_eq!(Wide::from_digits(number < 0, &digits), Some(wide));
            for digits in 0..39 {
                let fits = number.unsigned_abs() < 10_u128.pow(digits);
                prop_assert_eq!(wide.fits(digits as u8), fits);
            }
            let scaled = wide.scaled_up(zeros).filter(|_| zeros <= 37);
            prop_assert_eq!(scaled.and_then(|it| it.scaled_down(zeros)), scaled.map(|_| wide));
        }

        #[test]
        fn digits_survive(digits in "[1-9][0-9]{0,75}", is_negative in any::<bool>()) {
            let wide = Wide::from_digits(is_negative, &digits).unwrap();
            let sign = if is_negative { "-" } else { "" };
            prop_assert_eq!(text(wide), format!("{sign}{digits}"));
            prop_assert!(wide.fits(digits.len() as u8) && !wide.fits(digits.len() as u8 - 1));
            let mut bytes = wide.to_le_bytes();
            bytes.reverse();
            let longer = [&[if is_negative { 0xff } else { 0 }; 9][..], &bytes].concat();
            prop_assert_eq!(Wide::from_be_bytes(&longer), Some(wide));
        }
    }

    #[test]
    fn numbers_out_of_range_are_rejected() {
        assert_eq!(Wide::from_digits(false, &"9".repeat(77)), None);
        assert_eq!(Wide::from_digits(false, ""), None);
        assert_eq!(Wide::from_digits(false, "1x"), None);
        assert!(Wide::from_digits(true, &format!("00{}", "9".repeat(76))).is_some());
        assert_eq!(Wide::from(10).scaled_up(75), None);
        assert_eq!(Wide::from(15).scaled_down(1), None);
        assert_eq!(Wide::from_be_bytes(&[&[1][..], &[0; 32]].concat()), None);
        assert_eq!(Wide::from_be_bytes(&[&[0][..], &[0x80], &[0; 31]].concat()), None);
        assert!(!Wide::MIN.fits(76) && Wide::MIN.is_negative());
        assert_eq!(Wide::from(i128::MAX).scaled_up(38).and_then(Wide::to_i128), None);
    }
}
