//! What the markers of a JPEG file tell (ITU T.81, annex B): whether its kind can be decoded, and
//! where its picture ends.

use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::PhotoError;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
/// The frame of JPEG-LS (ITU T.87).
const SOF55: u8 = 0xf7;

/// The kind of a JPEG file that no decoder of ours reads; `None` if it is a usual one, or damaged.
pub(super) fn unsupported_kind(bytes: &[u8]) -> Option<&'static str> {
    let frame = Segments::new(bytes).find(|segment| is_frame(segment.code))?;
    match (frame.code, frame.contents.first()) {
        (0xc0..=0xc2, Some(12)) => Some("12-bit JPEG"),
        (0xc0..=0xc2, _) => None,
        (0xc3 | 0xcb, _) => Some("lossless JPEG"),
        (0xc9 | 0xca, _) => Some("arithmetic-coded JPEG"),
        (SOF55, _) => Some("JPEG-LS"),
        _ => Some("hierarchical JPEG"),
    }
}

/// Finds the end of a picture: `None` if its end marker is there, else the offset of what follows
/// the scans that complete it. Errs if scans are missing; the last one may still be cut.
///
/// Segments are skipped by their lengths, because a thumbnail in one has an end marker, too.
pub(super) fn end(bytes: &[u8]) -> Result<Option<usize>, PhotoError> {
    let mut is_progressive = false;
    // The components of the frame, each with a bit for every coefficient that is still inexact.
    let mut inexact: Vec<(u8, u64)> = Vec::new();
    let mut is_complete = false;
    for Segment { code, start, contents } in Segments::new(bytes) {
        match code {
            EOI => return Ok(None),
            // TEM and RST0..RST7 occur among compressed data.
            0x01 | 0xd0..=0xd7 => {}
            _ if is_complete => return Ok(Some(start)),
            SOI if !inexact.is_empty() => return Err(breaks_off(bytes, start)),
            SOS => {
                read_scan(contents, is_progressive, &mut inexact);
                is_complete = !inexact.is_empty() && inexact.iter().all(|(_, bits)| *bits == 0);
            }
            _ if is_frame(code) => {
                is_progressive = code == 0xc2;
                let components = contents.get(6..).unwrap_or_default().chunks_exact(3);
                inexact = components.map(|component| (component[0], u64::MAX)).collect();
            }
            _ => {}
        }
    }
    if is_complete {
        Ok(Some(bytes.len()))
    } else {
        Err(PhotoError::Truncated)
    }
}

/// A picture with an end marker at its `end`, whatever was there. Errs if its last scan is cut. The
/// picture's size must have been checked.
pub(super) fn with_end_marker(bytes: &[u8], end: usize) -> Result<Vec<u8>, PhotoError> {
    if !is_scan_whole(&bytes[..end]) {
        return Err(breaks_off(bytes, end));
    }
    Ok([&bytes[..end], &[0xff, EOI]].concat())
}

/// The error of a picture that ends too early, at `end`.
fn breaks_off(bytes: &[u8], end: usize) -> PhotoError {
    if end == bytes.len() {
        return PhotoError::Truncated;
    }
    PhotoError::Corrupt { reason: format!("its picture breaks off at byte {end}") }
}

/// Whether the last scan needs no bytes after its end. No Huffman code consists of ones alone, so a
/// strict decoder that needs more than it has fails at ones.
fn is_scan_whole(bytes: &[u8]) -> bool {
    let bytes = [bytes, &[0xff, 0x00].repeat(64), &[0xff, EOI]].concat();
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode().is_ok()
}

/// Notes which coefficients are exact after a scan.
fn read_scan(contents: &[u8], is_progressive: bool, inexact: &mut [(u8, u64)]) {
    let Some((&count, rest)) = contents.split_first() else { return };
    let Some((components, parameters)) = rest.split_at_checked(2 * usize::from(count)) else {
        return;
    };
    let exact = match parameters {
        _ if !is_progressive => u64::MAX,
        // Spectral selection from one coefficient to another, and the lowest bit that is sent.
        &[from, to, bits] if from <= to && to < 64 && bits & 0x0f == 0 => {
            (u64::MAX >> (63 - (to - from))) << from
        }
        _ => 0,
    };
    for component in components.chunks_exact(2) {
        for (_, bits) in inexact.iter_mut().filter(|(id, _)| *id == component[0]) {
            *bits &= !exact;
        }
    }
}

/// Whether a marker starts a frame: SOF0..SOF15 without DHT, JPG and DAC; DHP; SOF55.
fn is_frame(code: u8) -> bool {
    matches!(code, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xde | SOF55)
}

/// A marker and what its segment contains.
struct Segment<'a> {
    code: u8,
    /// The offset of the marker.
    start: usize,
    contents: &'a [u8],
}

/// The segments of a file that are whole.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        // Between segments, and inside compressed data, the next marker is FF and not 00 or FF.
        let mut pairs = self.bytes[self.at..].windows(2);
        let start =
            self.at + pairs.position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))?;
        let (code, after) = (self.bytes[start + 1], start + 2);
        self.at = after;
        // TEM, RST0..RST7, SOI and EOI stand alone.
        if matches!(code, 0x01 | 0xd0..=0xd9) {
            return Some(Segment { code, start, contents: &[] });
        }
        let length = self.bytes.get(after..after + 2);
        let length = length.map_or(0, |pair| usize::from(u16::from_be_bytes([pair[0], pair[1]])));
        let contents = self.bytes.get(after + 2..after + length);
        // A segment that is cut, or too short for its own length, may be none: only its marker is
        // passed on.
        self.at += contents.map_or(0, |_| length);
        Some(Segment { code, start, contents: contents.unwrap_or_default() })
    }
}
