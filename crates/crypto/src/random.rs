//! Random bytes of the library.

/// Fills `bytes` from the generator of the library: in a FIPS build that of the module.
///
/// # Panics
/// The system gives no randomness. Nothing may go on with bytes that can be guessed.
pub fn fill(bytes: &mut [u8]) {
    #[cfg(feature = "fips")]
    let filled = aws_lc_rs::rand::fill(bytes).is_ok();
    #[cfg(not(feature = "fips"))]
    let filled = {
        use ring::rand::SecureRandom as _;
        ring::rand::SystemRandom::new().fill(bytes).is_ok()
    };
    assert!(filled, "the system returned no random bytes");
}
