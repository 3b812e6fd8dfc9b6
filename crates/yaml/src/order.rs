//! The order in which Go's YAML library writes the keys of a map. Owns the comparison; refuses to
//! promise that it is transitive, because it is not (`v1a` < `v2` < `v12` < `v1a`).

use std::cmp::Ordering;

/// Compares two keys: runs of digits by their number, other marks before letters, letters by code.
pub fn natural(a: &str, b: &str) -> Ordering {
    let mut pairs = a.char_indices().zip(b.chars());
    let Some(((at, x), y)) = pairs.find(|((_, x), y)| x != y) else {
        return a.len().cmp(&b.len());
    };
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // What stands before the difference is the same in both, bytes included.
    let (same, a) = a.split_at(at);
    let b = b.get(at..).unwrap_or("");
    // A zero after a non-zero digit is part of a number already begun.
    let begun = (x == '0' || y == '0')
        && same
            .bytes()
            .rev()
            .take_while(u8::is_ascii_digit)
            .any(|digit| digit != b'0');
    let (an, ai) = run(a, begun);
    let (bn, bi) = run(b, begun);
    an.cmp(&bn).then(ai.cmp(&bi)).then(x.cmp(&y))
}

/// The number that a text begins with, and its length.
fn run(text: &str, begun: bool) -> (i64, usize) {
    let digits = text.bytes().take_while(u8::is_ascii_digit);
    digits.fold((i64::from(begun), 0), |(number, length), digit| {
        let digit = i64::from(digit - b'0');
        (number.wrapping_mul(10).wrapping_add(digit), length + 1)
    })
}

/// Sorts by [`natural`], from code-point order and by merging: with keys on which the comparison goes
/// round in a circle, Go's own output changes from run to run, and ours must not; the standard sort
/// may panic on such a comparison.
pub(crate) fn sort_natural<T>(items: &mut Vec<(&str, T)>) {
    items.sort_by(|a, b| a.0.cmp(b.0));
    let sorted = merge(std::mem::take(items));
    *items = sorted;
}

fn merge<T>(mut left: Vec<(&str, T)>) -> Vec<(&str, T)> {
    if left.is_sorted_by(|a, b| natural(a.0, b.0) != Ordering::Greater) {
        return left;
    }
    let right = merge(left.split_off(left.len() / 2));
    let mut left = merge(left).into_iter().peekable();
    let mut right = right.into_iter().peekable();
    let mut all = Vec::with_capacity(left.len() + right.len());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if natural(a.0, b.0) == Ordering::Greater {
            right.next()
        } else {
            left.next()
        };
        all.extend(next);
    }
    all.extend(left);
    all.extend(right);
    all
}

#[cfg(test)]
mod tests {
    use super::sort_natural;

    #[test]
    fn a_circle_of_keys_has_one_order() {
        let sorted = |keys: &[&'static str]| {
            let mut keys: Vec<(&str, ())> = keys.iter().map(|k| (*k, ())).collect();
            sort_natural(&mut keys);
            keys.into_iter().map(|(k, ())| k).collect::<Vec<_>>()
        };
        assert_eq!(sorted(&["v1a", "v2", "v12"]), sorted(&["v12", "v1a", "v2"]));
    }

    #[test]
    fn numbers_marks_and_letters() {
        let mut keys: Vec<(&str, ())> = [
            "b10", "b2", "a/b", "a.b", "a-b", "a", "B1", "_u", "c10", "c9",
        ]
        .iter()
        .map(|k| (*k, ()))
        .collect();
        sort_natural(&mut keys);
        let keys: Vec<&str> = keys.into_iter().map(|(k, ())| k).collect();
        assert_eq!(
            keys,
            [
                "_u", "B1", "a", "a-b", "a.b", "a/b", "b2", "b10", "c9", "c10"
            ]
        );
    }
}
