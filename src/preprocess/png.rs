//! The chunks of a PNG file (W3C PNG, section 5).

/// The last chunk, whole.
const END_CHUNK: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// The names of the chunks that are whole, each with the offset of its end.
pub(super) fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    // Behind the signature, each chunk is a length, a name, contents of that length, a checksum.
    let mut start = 8;
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(*bytes.get(start..)?.first_chunk()?);
        let end = usize::try_from(length).ok()?.checked_add(start + 12)?;
        let chunk = bytes.get(start..end)?;
        start = end;
        Some((&chunk[4..8], end))
    })
}

/// The whole chunks of a file that lacks the last one, and that one; `None` if it is there.
pub(super) fn with_end_chunk(bytes: &[u8]) -> Option<Vec<u8>> {
    if chunks(bytes).any(|(name, _)| name == b"IEND") {
        return None;
    }
    let (_, end) = chunks(bytes).last()?;
    Some([&bytes[..end], END_CHUNK].concat())
}
