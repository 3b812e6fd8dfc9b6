//! Owns what a scan's tags become: filtered, ordered, summed up. Pure.

use weir_gocompat::GoRegex;

/// How many tags are shown in the status.
const SHOWN: usize = 10;

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The tags that count, in descending order of their bytes.
    pub(crate) tags: Vec<String>,
    /// A sum over them, to see whether they changed.
    pub(crate) revision: String,
}

impl Found {
    /// Of what the registry listed.
    pub(crate) fn of(listed: Vec<String>, excluded: &[GoRegex]) -> Self {
        let mut tags = listed;
        tags.retain(|tag| !excluded.iter().any(|regex| regex.is_match(tag)));
        tags.sort_unstable_by(|a, b| b.cmp(a));
        tags.dedup();
        let text = serde_json::to_string(&tags).unwrap_or_default();
        let revision = adler32(text.as_bytes()).to_string();
        Self { tags, revision }
    }

    /// The first ones, for people.
    pub(crate) fn latest(&self) -> Vec<String> {
        self.tags.iter().take(SHOWN).cloned().collect()
    }

    /// What is said of it.
    pub(crate) fn message(&self) -> String {
        format!(
            "successful scan: found {} tags with checksum {}",
            self.tags.len(),
            self.revision
        )
    }
}

/// The checksum of RFC 1950, which the status is known to carry.
fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % MODULUS;
        b = (b + a) % MODULUS;
    }
    (b << 16) | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_filtered_and_ordered_by_their_bytes() {
        let excluded = [GoRegex::parse(r"^.*\.sig$").expect("a pattern")];
        let listed = ["1.9.0", "1.10.0", "sha256-a.sig", "latest", "1.9.0"];
        let found = Found::of(listed.map(str::to_owned).to_vec(), &excluded);
        assert_eq!(found.tags, ["latest", "1.9.0", "1.10.0"]);
        assert_eq!(found.latest(), found.tags);
        let text = format!(
            "successful scan: found 3 tags with checksum {}",
            found.revision
        );
        assert_eq!(found.message(), text);
        let many = (10..40).map(|i| i.to_string()).collect();
        assert_eq!(Found::of(many, &[]).latest().len(), 10);
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
        assert_eq!(adler32(b""), 1);
    }
}
