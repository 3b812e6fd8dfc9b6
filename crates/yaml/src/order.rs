//! The order in which Go's YAML library writes the keys of a map. Owns the comparison; refuses to
//! promise that it is transitive, because it is not (`v1a` < `v2` < `v12` < `v1a`).

use std::cmp::Ordering;

/// Compares two keys: runs of digits by their number, other marks before letters, letters by code.
pub fn natural(a: &str, b: &str) -> Ordering {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let Some(at) = a.iter().zip(&b).position(|(x, y)| x != y) else {
        return a.len().cmp(&b.len());
    };
    let (Some(&x), Some(&y)) = (a.get(at), b.get(at)) else {
        return a.len().cmp(&b.len());
    };
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero after a non-zero digit is part of a number already begun.
    let begun = (x == '0' || y == '0')
        && a.iter()
            .take(at)
            .rev()
            .take_while(|c| c.is_ascii_digit())
            .any(|c| *c != '0');
    let (an, ai) = run(&a, at, begun);
    let (bn, bi) = run(&b, at, begun);
    an.cmp(&bn).then(ai.cmp(&bi)).then(x.cmp(&y))
}

fn run(text: &[char], from: usize, begun: bool) -> (i64, usize) {
    let mut number = i64::from(begun);
    let mut end = from;
    for c in text.iter().skip(from) {
        let Some(digit) = c.to_digit(10) else { break };
        number = number.wrapping_mul(10).wrapping_add(i64::from(digit));
        end += 1;
    }
    (number, end)
}

/// Sorts by [`natural`] from code-point order, by insertion: with keys on which the comparison goes
/// round in a circle, Go's own output changes from run to run, and ours must not.
pub(crate) fn sort_natural<T>(items: &mut Vec<(&str, T)>) {
    items.sort_by(|a, b| a.0.cmp(b.0));
    let mut sorted: Vec<(&str, T)> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        let at = sorted.partition_point(|other| natural(other.0, item.0) != Ordering::Greater);
        sorted.insert(at, item);
    }
    *items = sorted;
}

#[cfg(test)]
mod tests {
    use super::sort_natural;

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
