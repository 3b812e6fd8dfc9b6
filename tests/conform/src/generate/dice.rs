//! Owns chance: a seeded generator, the same on every machine.

/// A source of numbers.
pub(crate) struct Dice(u64);

impl Dice {
    /// From a seed and the number of a sequence.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut dice = Self(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// True in one of `n` cases.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of some texts.
    pub(crate) fn of<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items
            .get(self.below(items.len()))
            .copied()
            .unwrap_or_default()
    }

    /// Some of some texts, at least one, in random order.
    pub(crate) fn some<'a>(&mut self, items: &[&'a str]) -> Vec<&'a str> {
        let mut rest = items.to_vec();
        let mut out = Vec::new();
        while !rest.is_empty() {
            let item = rest.remove(self.below(rest.len()));
            if self.one_in(2) {
                out.push(item);
            }
        }
        if out.is_empty() {
            out.extend(items.first());
        }
        out
    }
}
