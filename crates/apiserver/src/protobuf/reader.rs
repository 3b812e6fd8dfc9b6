//! Owns the walk over coded bytes: tags, numbers and lengths. It refuses meaning.

use super::fault::Fault;

/// Bytes and a place in them.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A field's number and coding.
pub(super) struct Tag {
    pub(super) number: u32,
    pub(super) coding: u8,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        let (mut out, mut shift) = (0_u64, 0_u32);
        loop {
            if shift >= 64 {
                return Err(Fault::Overflow);
            }
            let byte = *self.bytes.get(self.at).ok_or(Fault::End)?;
            self.at += 1;
            out |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(out);
            }
            shift += 7;
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(length).ok_or(Fault::Length)?;
        let out = self.bytes.get(self.at..end).ok_or(Fault::End)?;
        self.at = end;
        Ok(out)
    }

    pub(super) fn fixed(&mut self) -> Result<[u8; 8], Fault> {
        let bytes = self.take(8)?;
        bytes.try_into().map_err(|_| Fault::End)
    }

    /// Bytes with their length before them.
    pub(super) fn piece(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.varint()?;
        if length as i64 <= -1 {
            return Err(Fault::Length);
        }
        self.take(usize::try_from(length).map_err(|_| Fault::End)?)
    }

    /// The next field's tag in a message of this name.
    pub(super) fn tag(&mut self, message: &str) -> Result<Tag, Fault> {
        let key = self.varint()?;
        let (number, coding) = ((key >> 3) as i32, (key & 7) as u8);
        if coding == 4 {
            return Err(Fault::EndOfGroup(message.to_owned()));
        }
        match u32::try_from(number) {
            Ok(number) if number > 0 => Ok(Tag { number, coding }),
            _ => Err(Fault::Tag {
                message: message.to_owned(),
                number,
                found: coding,
            }),
        }
    }

    /// Passes over the value of a tag that was just read.
    pub(super) fn skip(&mut self, coding: u8) -> Result<(), Fault> {
        let (mut coding, mut depth) = (coding, 0_usize);
        loop {
            match coding {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.take(8)?;
                }
                2 => {
                    self.piece()?;
                }
                3 => depth += 1,
                4 => depth = depth.checked_sub(1).ok_or(Fault::StrayEndOfGroup)?,
                5 => {
                    self.take(4)?;
                }
                other => return Err(Fault::Coding(other)),
            }
            if depth == 0 {
                return Ok(());
            }
            coding = (self.varint()? & 7) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_are_bounded() {
        let mut reader = Reader::new(&[0xac, 0x02, 0x7f]);
        assert_eq!(reader.varint(), Ok(300));
        assert_eq!(reader.piece(), Err(Fault::End));
        assert_eq!(Reader::new(&[0x80; 11]).varint(), Err(Fault::Overflow));
        assert_eq!(Reader::new(&[0x80; 3]).varint(), Err(Fault::End));
        let mut minus = [0xff; 10];
        minus[9] = 1;
        assert_eq!(Reader::new(&minus).piece(), Err(Fault::Length));
    }

    #[test]
    fn groups_are_passed_over_with_what_they_hold() {
        // A group with a number and a text in it, then one more field.
        let bytes = [0x1b, 0x08, 0x01, 0x12, 0x01, b'x', 0x1c, 0x20, 0x05];
        let mut reader = Reader::new(&bytes);
        let tag = reader.tag("X").expect("a tag");
        assert_eq!((tag.number, tag.coding), (3, 3));
        assert_eq!(reader.skip(tag.coding), Ok(()));
        assert_eq!(reader.tag("X").map(|t| t.number), Ok(4));
        assert_eq!(Reader::new(&[]).skip(4), Err(Fault::StrayEndOfGroup));
        assert_eq!(Reader::new(&[]).skip(6), Err(Fault::Coding(6)));
        assert_eq!(Reader::new(&[]).skip(3), Err(Fault::End));
    }
}
