//! Owns digests as text: `sha256:` and 64 hexadecimal digits; bare digits are taken as sha256.

use std::fmt;
use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::ArtifactError;

/// A sha256 digest.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Reads `sha256:<hex>` or bare hexadecimal digits.
    ///
    /// # Errors
    /// [`ArtifactError::BadDigest`].
    pub fn parse(text: &str) -> Result<Self, ArtifactError> {
        let bad = || ArtifactError::BadDigest(text.chars().take(100).collect());
        let hex = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        let mut out = [0; 32];
        if hex.len() != 64 {
            return Err(bad());
        }
        for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
            for digit in pair {
                let digit = char::from(*digit).to_digit(16).ok_or_else(bad)?;
                *byte = *byte * 16 + digit as u8;
            }
        }
        Ok(Self(out))
    }

    /// The digits alone.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut out, byte| {
                // Writing to a string does not fail.
                let _ = write!(out, "{byte:02x}");
                out
            })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The digest of some bytes.
pub fn sha256_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Passes bytes on, counting and digesting them.
pub(crate) struct Digesting<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> Digesting<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    /// What was written to, its digest and its size.
    pub(crate) fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest(self.hash.finalize().into()), self.bytes)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or(bytes));
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The digest and size of all that `from` gives.
pub(crate) fn digest_of(mut from: impl Read) -> io::Result<(Digest, u64)> {
    let mut to = Digesting::new(io::sink());
    io::copy(&mut from, &mut to)?;
    let (_, digest, bytes) = to.finish();
    Ok((digest, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digests_are_read_and_written() {
        assert_eq!(sha256_of(b"").to_string(), format!("sha256:{EMPTY}"));
        assert_eq!(Digest::parse(EMPTY), Ok(sha256_of(b"")));
        assert_eq!(
            Digest::parse(&format!("sha256:{EMPTY}")),
            Ok(sha256_of(b""))
        );
        for bad in [
            "",
            "sha256:",
            "sha512:aa",
            &EMPTY[1..],
            "sha256:zz",
            &format!("x{EMPTY}"),
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
        assert!(Digest::parse(&"é".repeat(32)).is_err());
    }
}
