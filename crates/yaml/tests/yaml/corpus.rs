//! The kept corpus: inputs and what Go's libraries answered (`tests/go/yaml`).

use serde::Deserialize;
use serde_json::Value;
use weir_yaml::{Dialect, Numbers, Reader, to_string};

const READ: &str = include_str!("../corpus/read.jsonl");
const WRITE: &str = include_str!("../corpus/write.jsonl");

/// Inputs on which we differ from Go and mean to, each with the reason.
const KNOWN: &[(&str, &str)] = &[
    ("a: -0.0", NEGATIVE_ZERO),
    ("a: -0E97", NEGATIVE_ZERO),
    (
        "|\nx\n",
        "Go loses a root block scalar that is not indented",
    ),
    (
        "'a' 'b'",
        "Go drops what follows the first scalar without a word",
    ),
    ("[-]", DASH),
    ("[-, a]", DASH),
    ("{a: -}", DASH),
    (
        "[?a]",
        "`?a` in brackets is text in YAML 1.2, as it is outside of them",
    ),
    ("[?]", FLOW_MARK),
    ("[:a]", FLOW_MARK),
    ("{:a: b}", FLOW_MARK),
    ("{a: :b}", FLOW_MARK),
    ("{a\nb: 1}", "a key in braces may span lines in YAML 1.2"),
    ("a: |\n  \tx\n", TAB),
    ("\ta: b\n", TAB),
    ("-\ta\n", TAB),
    ("- \ta\n", TAB),
    ("\t\na: 1\n", TAB),
    ("a: 1\n\t\nb: 2\n", TAB),
    ("a: 1\n\t# c\nb: 2\n", TAB),
    ("a: \"\\/\"", ESCAPE),
    ("a: \"\\ud83d\\ude00\"", ESCAPE),
    ("a: x\u{85}y\n", LINE),
    ("a: x\u{2028}y\n", LINE),
    ("a: &x-y.z/w 1\nb: *x-y.z/w\n", ANCHOR),
    ("a: &é 1\nb: *é\n", ANCHOR),
    ("a: &x: 1\n", ANCHOR),
    (
        "%FOO bar\n---\na: 1\n",
        "unknown directives are to be ignored",
    ),
    ("...\n", "a stream may end a document that never began"),
];

const NEGATIVE_ZERO: &str = "an API server stores it as 0";
const DASH: &str = "a lone dash in brackets is refused; Go reads it as text";
const FLOW_MARK: &str = "text in YAML 1.2; Go refuses it";
const TAB: &str = "the tab is a blank here; Go refuses it";
const ESCAPE: &str = "an escape that JSON texts carry; Go refuses it";
const LINE: &str = "no line break in YAML 1.2; Go refuses what follows it";
const ANCHOR: &str = "a name that YAML 1.2 allows; Go refuses it";

const SEPARATOR: &str =
    "Go writes it raw, as a line break, which YAML 1.2 reads as text; it is escaped here";

/// The same for writing.
const KNOWN_WRITE: &[(&str, &str)] = &[
    (
        "\u{85}",
        "Go passes the text through JSON and reads the raw U+0085 as a line break to fold",
    ),
    ("a\u{85}b", "the same"),
    ("\u{2028}", SEPARATOR),
    ("\u{2029}", SEPARATOR),
    ("a\u{2028}b", SEPARATOR),
];

#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    read: String,
    json: Option<String>,
    any: Option<String>,
    json3: Option<String>,
    #[serde(default)]
    write: Value,
    yaml: Option<String>,
}

fn cases(text: &str) -> Vec<Case> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a corpus line"))
        .collect()
}

fn compare(reader: &Reader, known: &[(&str, &str)], want: impl Fn(&Case) -> Option<String>) {
    let mut wrong = Vec::new();
    for case in cases(READ) {
        let want = want(&case).map(|json| serde_json::from_str::<Value>(&json).expect("JSON"));
        let got = reader.read(&case.read);
        let same = got.as_ref().ok() == want.as_ref();
        if same == known.iter().any(|(text, _)| *text == case.read) {
            wrong.push(format!("{:?}\n   go: {want:?}\n  got: {got:?}", case.read));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn reads_as_go_yaml_2() {
    compare(&Reader::default(), KNOWN, |case| case.json.clone());
}

#[test]
fn reads_through_floats_as_go_does() {
    let reader = Reader {
        numbers: Numbers::Float64,
        ..Reader::default()
    };
    compare(&reader, KNOWN, |case| {
        case.any.clone().or_else(|| case.json.clone())
    });
}

#[test]
fn reads_as_go_yaml_3() {
    let reader = Reader {
        dialect: Dialect::GoYaml3,
        ..Reader::default()
    };
    compare(&reader, KNOWN, |case| case.json3.clone());
}

#[test]
fn writes_as_go() {
    let mut wrong = Vec::new();
    let merge_key: Value = [("<<".to_owned(), Value::from(1))].into_iter().collect();
    assert_eq!(
        to_string(&merge_key),
        "\"<<\": 1\n",
        "Go leaves the quotes out, and reads a merge"
    );
    for case in cases(WRITE)
        .into_iter()
        .filter(|case| case.write != merge_key)
    {
        let Some(want) = case.yaml else { continue };
        let got = to_string(&case.write);
        let known = KNOWN_WRITE.iter().any(|(text, _)| {
            [&case.write["k"], &case.write[0]].contains(&&Value::from(*text))
                || case.write.get(text).is_some()
        });
        if (got == want) == known {
            wrong.push(format!("{}\n   go: {want:?}\n  got: {got:?}", case.write));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
