//! Owns Go's `filepath.Match` for one part of a path: `*`, `?`, `[a-z]`, `[^a]`, and `\` to escape.

/// Whether `name` matches `pattern`; `None` for a pattern that Go refuses.
pub(crate) fn matches(pattern: &str, name: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    check(&pattern)?;
    // The classic walk with one point to come back to: linear in practice, quadratic at worst.
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                back = Some((p + 1, n));
                p += 1;
                continue;
            }
            None if n == name.len() => return Some(true),
            None => None,
            Some(_) => name.get(n).and_then(|c| one(&pattern, p, *c)),
        };
        match (step, back) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((after_star, from))) if from < name.len() => {
                back = Some((after_star, from + 1));
                p = after_star;
                n = from + 1;
            }
            (None, _) => return Some(false),
        }
    }
}

/// Where the pattern goes on when the piece at `p` matches `c`.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '\\' => (*pattern.get(p + 1)? == c).then_some(p + 2),
        '[' => {
            let (negated, ranges, end) = class(pattern, p)?;
            let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
            (inside != negated).then_some(end)
        }
        literal => (*literal == c).then_some(p + 1),
    }
}

type Class = (bool, Vec<(char, char)>, usize);

/// The class that starts at `p`, and where the pattern goes on after it.
fn class(pattern: &[char], p: usize) -> Option<Class> {
    let mut at = p + 1;
    let negated = pattern.get(at) == Some(&'^');
    at += usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        if pattern.get(at) == Some(&']') && !ranges.is_empty() {
            return Some((negated, ranges, at + 1));
        }
        let (low, after) = member(pattern, at)?;
        let (high, after) = match pattern.get(after) {
            Some('-') => member(pattern, after + 1)?,
            _ => (low, after),
        };
        ranges.push((low, high));
        at = after;
    }
}

fn member(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match pattern.get(at)? {
        '-' | ']' => None,
        '\\' => Some((*pattern.get(at + 1)?, at + 2)),
        c => Some((*c, at + 1)),
    }
}

fn check(pattern: &[char]) -> Option<()> {
    let mut at = 0;
    while let Some(c) = pattern.get(at) {
        at = match c {
            '[' => class(pattern, at)?.2,
            '\\' => {
                pattern.get(at + 1)?;
                at + 2
            }
            _ => at + 1,
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_match_as_in_go() {
        for (pattern, name, expected) in [
            ("abc", "abc", Some(true)),
            ("*", "", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "ab/c", Some(true)),
            ("a**b", "axxb", Some(true)),
            ("a*b*c*d", "axbxcxdxd", Some(true)),
            ("a*b*c*d", "axbxcxdxe", Some(false)),
            ("a?c", "abc", Some(true)),
            ("ab[^e-g]", "abc", Some(true)),
            ("ab[^b-d]", "abc", Some(false)),
            ("[!a]", "b", Some(false)),
            ("[!a]", "!", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "axb", Some(false)),
            ("[]a]", "]", None),
            ("[\\]a]", "]", Some(true)),
            ("[-]", "-", None),
            ("[a", "a", None),
            ("a\\", "a", None),
            ("{a,b}", "a", Some(false)),
            ("ä?", "äö", Some(true)),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn no_pattern_breaks_it(pattern in "[a*?\\[\\]^\\\\-]{0,12}", name in "[a-c*]{0,12}") {
            let _ = matches(&pattern, &name);
            proptest::prop_assert_eq!(matches("*", &name), Some(true));
        }
    }
}
