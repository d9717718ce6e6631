//! What tests send.

/// That many bytes, which differ from any part of them that is moved or repeated.
pub fn pattern(length: u64) -> Vec<u8> {
    let words =
        (0..length.div_ceil(8)).map(|index| index.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17));
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(usize::try_from(length).expect("it fits into memory"));
    bytes
}
