//! Owns the choice of one tag among many. Pure, and the same for every order of the same tags.

use std::collections::BTreeMap;

use weir_api::image_policy::Order;
use weir_gocompat::{Version, parse_float};

use super::spec::{Filter, Rule};

/// Why no tag was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoTag {
    /// How many tags there were.
    pub(crate) tags: usize,
    /// How many passed the filter.
    pub(crate) filtered: usize,
    /// How many of those can be compared by the rule.
    pub(crate) comparable: usize,
}

/// The tag that the rule chooses.
pub(crate) fn choose<'a>(
    rule: &Rule,
    filter: Option<&Filter>,
    tags: &'a [String],
) -> Result<&'a str, NoTag> {
    // What is compared, and the tag it is of: of several, the first in byte order.
    let mut candidates: BTreeMap<String, &'a str> = BTreeMap::new();
    for tag in tags {
        let Some(compared) = compared(filter, tag) else {
            continue;
        };
        let held = candidates.entry(compared).or_insert(tag);
        if tag.as_str() < *held {
            *held = tag;
        }
    }
    let mut comparable = 0;
    let chosen = match rule {
        Rule::Semver(range) => {
            let versions = candidates.iter().filter_map(|(text, tag)| {
                let version = version(text)?;
                comparable += 1;
                Some((version, text, tag))
            });
            versions
                .filter(|(version, ..)| range.check(version))
                .max_by(|(a, x, _), (b, y, _)| a.cmp(b).then_with(|| x.cmp(y)))
                .map(|(.., tag)| *tag)
        }
        Rule::Alphabetical(order) => {
            comparable = candidates.len();
            match order {
                Order::Asc => candidates.last_key_value(),
                Order::Desc => candidates.first_key_value(),
            }
            .map(|(_, tag)| *tag)
        }
        Rule::Numerical(order) => {
            let numbers = candidates.iter().filter_map(|(text, tag)| {
                // One odd tag leaves the others as they are.
                let number = parse_float(text).ok().filter(|number| !number.is_nan())?;
                comparable += 1;
                Some((number, text, tag))
            });
            let by = |(a, x, _): &(f64, &String, &&str), (b, y, _): &(f64, &String, &&str)| {
                let numbers = a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
                let numbers = match order {
                    Order::Asc => numbers,
                    Order::Desc => numbers.reverse(),
                };
                numbers.then_with(|| x.cmp(y))
            };
            numbers.max_by(by).map(|(.., tag)| *tag)
        }
    };
    chosen.ok_or(NoTag {
        tags: tags.len(),
        filtered: candidates.len(),
        comparable,
    })
}

/// What of a tag is compared, where the tag is considered at all.
fn compared(filter: Option<&Filter>, tag: &str) -> Option<String> {
    let Some(filter) = filter else {
        return Some(tag.to_owned());
    };
    match &filter.extract {
        Some(template) => filter.pattern.extract(tag, template),
        None => filter.pattern.is_match(tag).then(|| tag.to_owned()),
    }
}

/// A version with three parts. Shorter ones are tags that move, such as `1.2`.
fn version(text: &str) -> Option<Version> {
    (text.splitn(3, '.').count() == 3)
        .then(|| Version::parse(text).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_gocompat::{GoRegex, VersionRange};

    fn semver(range: &str) -> Rule {
        Rule::Semver(VersionRange::parse(range).expect("a range"))
    }

    fn chosen(rule: &Rule, filter: Option<(&str, &str)>, tags: &str) -> String {
        let filter = filter.map(|(pattern, extract)| Filter {
            pattern: GoRegex::parse(pattern).expect("a pattern"),
            extract: (!extract.is_empty()).then(|| extract.to_owned()),
        });
        let mut tags: Vec<String> = tags.split(' ').map(str::to_owned).collect();
        let pick = |tags: &[String]| match choose(rule, filter.as_ref(), tags) {
            Ok(tag) => tag.to_owned(),
            Err(none) => format!("{}/{}/{}", none.tags, none.filtered, none.comparable),
        };
        let there = pick(&tags);
        tags.reverse();
        assert_eq!(pick(&tags), there, "the order of the tags does not matter");
        there
    }

    #[test]
    fn versions() {
        for (range, tags, expected) in [
            ("1.x", "1.9 1.10.0", "1.10.0"),
            (">=1.0.0", "1.0.0 v1.2.0 1.1.0", "v1.2.0"),
            (">=1.0.0", "1.0.0 2.0.0-rc.1", "1.0.0"),
            (">=1.0.0-0", "1.0.0 2.0.0-rc.1", "2.0.0-rc.1"),
            ("~1.2", "1.2.9 1.2.10 1.3.0", "1.2.10"),
            ("^0.1", "0.1.0 0.1.7 0.2.0", "0.1.7"),
            ("1.0.0", "1.0.0 1.0.1", "1.0.0"),
            ("*", "latest main 0.0.1", "0.0.1"),
            ("*", "1.0.0+a 1.0.0+b", "1.0.0+b"),
            ("<1.0.0 || >=3.0.0", "0.9.0 2.0.0 3.1.0", "3.1.0"),
            (">=9.0.0", "1.0.0 latest", "2/2/1"),
            ("*", "latest", "1/1/0"),
            ("*", "1.2 1", "2/2/0"),
        ] {
            assert_eq!(
                chosen(&semver(range), None, tags),
                expected,
                "{range} of {tags}"
            );
        }
    }

    #[test]
    fn texts_and_numbers() {
        let (asc, desc) = (Order::Asc, Order::Desc);
        for (rule, tags, expected) in [
            (Rule::Alphabetical(asc), "a c b", "c"),
            (Rule::Alphabetical(desc), "a c b", "a"),
            (Rule::Alphabetical(asc), "10 9", "9"),
            (Rule::Numerical(asc), "10 9 8.5", "10"),
            (Rule::Numerical(desc), "10 9 8.5", "8.5"),
            (Rule::Numerical(asc), "7 latest 3", "7"),
            (Rule::Numerical(asc), "1 1.0", "1.0"),
            (Rule::Numerical(asc), "-1 -2", "-1"),
            (Rule::Numerical(asc), "latest nan", "2/2/0"),
        ] {
            assert_eq!(chosen(&rule, None, tags), expected, "{rule:?} of {tags}");
        }
    }

    #[test]
    fn filters() {
        let numerical = Rule::Numerical(Order::Asc);
        let pattern = "^main-[a-f0-9]+-(?P<ts>[0-9]+)$";
        let tags = "main-aaa-100 main-bbb-99 v1 dev-ccc-200";
        assert_eq!(
            chosen(&numerical, Some((pattern, "$ts")), tags),
            "main-aaa-100"
        );
        let alphabetical = Rule::Alphabetical(Order::Asc);
        assert_eq!(
            chosen(&alphabetical, Some((pattern, "$ts")), tags),
            "main-bbb-99"
        );
        assert_eq!(
            chosen(&alphabetical, Some((pattern, "")), tags),
            "main-bbb-99"
        );
        let version = ("^v(.*)-alpine$", "$1");
        let tags = "v1.2.0-alpine v1.3.0 v1.1.0-alpine";
        assert_eq!(chosen(&semver("1.x"), Some(version), tags), "v1.2.0-alpine");
        // One value of two tags: the first of them in byte order.
        assert_eq!(
            chosen(&numerical, Some(("([0-9]+)", "$1")), "b-5 a-5 c-4"),
            "a-5"
        );
        assert_eq!(chosen(&numerical, Some(("^x", "")), "a b"), "2/0/0");
        // Not anchored, as in Go.
        assert_eq!(
            chosen(&alphabetical, Some(("rc", "")), "1-rc-1 1"),
            "1-rc-1"
        );
    }
}
