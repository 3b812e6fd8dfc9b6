//! Owns the numbers of an Indexed Job's pods: as text in its status, and which come next. Pure.

use std::collections::BTreeSet;

use serde_json::Value;
use weir_object::path;

/// The annotation and label that hold a pod's number.
pub(crate) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Reads numbers below `end` as the API writes them, such as `0-2,5`. What cannot be read is left
/// out.
pub(crate) fn read(text: &str, end: i64) -> BTreeSet<i64> {
    let mut out = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>())
            && first >= 0
        {
            out.extend(first..=last.min(end - 1));
        }
    }
    out
}

/// Writes numbers as the API does: two neighbours are listed, more are a range.
pub(crate) fn write(numbers: &BTreeSet<i64>) -> String {
    let mut parts: Vec<(i64, i64)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let text = |(first, last): (i64, i64)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    parts.into_iter().map(text).collect::<Vec<_>>().join(",")
}

/// The number of a pod.
pub(crate) fn of(pod: &Value) -> Option<i64> {
    path::text(pod, &["metadata", "annotations", INDEX])
        .parse()
        .ok()
        .filter(|index| *index >= 0)
}

/// The first numbers below `end` that are not taken.
pub(crate) fn pending(taken: &BTreeSet<i64>, end: i64, count: usize) -> Vec<i64> {
    (0..end)
        .filter(|index| !taken.contains(index))
        .take(count)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_written_as_ranges_of_three_and_more() {
        let set = |list: &[i64]| list.iter().copied().collect::<BTreeSet<i64>>();
        assert_eq!(write(&set(&[0, 1, 2, 5, 7, 8])), "0-2,5,7,8");
        assert_eq!(read("0-2,5,x,7-9", 9), set(&[0, 1, 2, 5, 7, 8]));
        assert_eq!(pending(&set(&[0, 2]), 5, 2), [1, 3]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_written_is_read_again(numbers in proptest::collection::btree_set(0i64..50, 0..30)) {
            prop_assert_eq!(read(&write(&numbers), 50), numbers);
        }
    }
}
