//! Owns pkt-lines, the frames of Git's protocol: four hexadecimal digits of length, then the bytes.

use super::Trouble;

/// The frame that ends a section.
pub(super) const FLUSH: &[u8] = b"0000";
const MAX: usize = 65_520;

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pkt<'a> {
    /// Ends a section.
    Flush,
    /// A line, without its newline.
    Line(&'a [u8]),
}

/// A text as a frame.
pub(super) fn line(text: &str) -> Vec<u8> {
    frame(text.as_bytes())
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut out = format!("{:04x}", bytes.len() + 4).into_bytes();
    out.extend_from_slice(bytes);
    out
}

/// Adds `bytes` to `out` as frames of side band 1.
pub(super) fn side_band(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.chunks(MAX - 5) {
        out.extend_from_slice(format!("{:04x}", chunk.len() + 5).as_bytes());
        out.push(1);
        out.extend_from_slice(chunk);
    }
}

/// Reads frames one after the other.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next frame, or nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Pkt<'a>>, Trouble> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let bad = || Trouble::Request("a frame of the request is damaged");
        let (head, rest) = self.0.split_at_checked(4).ok_or_else(bad)?;
        let head = std::str::from_utf8(head).map_err(|_| bad())?;
        let length = usize::from_str_radix(head, 16).map_err(|_| bad())?;
        if length == 0 {
            self.0 = rest;
            return Ok(Some(Pkt::Flush));
        }
        let length = length.checked_sub(4).ok_or_else(bad)?;
        let (line, rest) = rest.split_at_checked(length).ok_or_else(bad)?;
        self.0 = rest;
        Ok(Some(Pkt::Line(line.strip_suffix(b"\n").unwrap_or(line))))
    }

    /// What follows the frames read so far.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_written() {
        let bytes = [
            line("want x\n"),
            FLUSH.to_vec(),
            line("done"),
            b"PACK".to_vec(),
        ]
        .concat();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.next().expect("a frame"), Some(Pkt::Line(b"want x")));
        assert_eq!(reader.next().expect("a frame"), Some(Pkt::Flush));
        assert_eq!(reader.next().expect("a frame"), Some(Pkt::Line(b"done")));
        assert_eq!(reader.rest(), b"PACK");
    }

    #[test]
    fn damaged_frames_are_refused() {
        for bad in ["1", "zzzz", "0002", "0009abc", "ffff", "\u{e9}\u{e9}00"] {
            assert!(Reader::new(bad.as_bytes()).next().is_err(), "{bad}");
        }
        assert!(matches!(Reader::new(b"").next(), Ok(None)));
    }

    #[test]
    fn side_bands_are_cut_to_size() {
        let mut out = Vec::new();
        side_band(&mut out, &vec![7; MAX]);
        assert_eq!(&out[..5], b"fff0\x01");
        assert_eq!(out.len(), MAX + 10);
    }
}
