//! Laws that hold for any input.

use proptest::prelude::*;
use serde_json::{Map, Value};
use weir_yaml::{
    Content, Limits, Node, Reader, Style, Writer, YamlError, apply_edits, from_str, parse,
    replace_node, to_string,
};

/// Text full of what YAML cares about.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z]{1,6}",
        2 => prop::sample::select(vec![
            " ", "  ", "\n", "\n\n", "\t", ":", ": ", " #", "#", "-", "- ", "'", "\"", "\\", "{", "}",
            "[", "]", ",", "&", "*", "!", "|", ">", "%", "@", "?", "? ", "~", "yes", "1", "0x1", "1e3",
            "2001-01-01", ".", "...", "---", "<<", "é", "😀", "\r", "\u{a0}", "\u{feff}", "\u{1}",
            "\u{2028}", "null", "12:30", "=",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(|f| Value::from(f + 0.5)),
        text().prop_map(Value::from),
        prop::collection::vec("[a-z]{1,12}", 10..40).prop_map(|words| Value::from(words.join(" "))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Floats that are whole come back as integers, which is the same number.
fn settle(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(settle).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), settle(v))).collect(),
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() && f.fract() == 0.0 => Value::from(f as i64),
            _ => value.clone(),
        },
        _ => value.clone(),
    }
}

fn nodes<'a>(node: &'a Node, found: &mut Vec<&'a Node>) {
    found.push(node);
    match &node.content {
        Content::Sequence { items, .. } => items.iter().for_each(|item| nodes(item, found)),
        Content::Mapping { entries, .. } => {
            for entry in entries {
                nodes(&entry.key, found);
                nodes(&entry.value, found);
            }
        }
        _ => {}
    }
}

/// A document of scalars in all styles, with comments.
fn source() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        "[a-z][a-z0-9:/.]{0,8}[a-z0-9]",
        "'[a-z ]{0,8}'",
        "\"[a-z ]{0,8}\"",
        Just("|\n      x\n        y".to_owned()),
        Just(">-  # folded\n      x\n      y\n".to_owned()),
        Just("|2+\n      x\n\n".to_owned()),
        Just("!!int 12".to_owned()),
        Just("&anchor word".to_owned()),
        Just("{f: g}".to_owned()),
        Just("more\n      words".to_owned()),
    ];
    let entry = (
        scalar,
        prop::sample::select(vec!["", " # c", "   # {\"a\": 1}"]),
    );
    prop::collection::vec(entry, 1..5).prop_map(|entries| {
        let lines = entries.iter().enumerate().map(|(i, (scalar, comment))| {
            let comment = if scalar.contains('\n') { "" } else { comment };
            format!("  k{i}: {scalar}{comment}\n  # between\n")
        });
        std::iter::once("# head\ntop:\n".to_owned())
            .chain(lines)
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back(value in value()) {
        let want = settle(&value);
        let text = to_string(&value);
        let read = from_str(&text);
        prop_assert_eq!(read.as_ref(), Ok(&want), "{}", text);
        let text = Writer::in_order().to_string(&value);
        let read = from_str(&text);
        prop_assert_eq!(read.as_ref(), Ok(&want), "{}", text);
        let again = read.map(|v| Writer::in_order().to_string(&v));
        prop_assert_eq!(again, Ok(text));
    }

    #[test]
    fn nothing_panics_and_spans_lie_in_the_text(text in prop_oneof![text(), any::<String>()]) {
        let Ok(documents) = parse(&text) else { return Ok(()) };
        for document in &documents {
            let mut found = Vec::new();
            nodes(&document.root, &mut found);
            for node in found {
                prop_assert!(text.get(node.span.clone()).is_some(), "{:?} of {:?}", node, text);
                if let Some(edit) = replace_node(&text, node, "new") {
                    prop_assert!(apply_edits(&text, &[edit]).is_some());
                }
            }
            for comment in &document.comments {
                let slice = text.get(comment.span.clone()).and_then(|s| s.strip_prefix('#'));
                prop_assert_eq!(slice, Some(comment.text.as_str()));
            }
            let _ = Reader::default().value(document);
        }
    }

    #[test]
    fn spans_slice_back(source in source()) {
        let documents = parse(&source).expect("YAML");
        let mut found = Vec::new();
        nodes(&documents[0].root, &mut found);
        for node in found {
            let slice = &source[node.span.clone()];
            match node.scalar() {
                Some((text, Style::Plain)) if !slice.contains('\n') => prop_assert_eq!(slice, text),
                Some((text, Style::Single)) => prop_assert_eq!(slice, format!("'{text}'")),
                Some((text, Style::Double)) => prop_assert_eq!(slice, format!("\"{text}\"")),
                Some((_, Style::Literal)) => prop_assert!(slice.starts_with('|')),
                Some((_, Style::Folded)) => prop_assert!(slice.starts_with('>')),
                _ => {}
            }
        }
    }

    #[test]
    fn replacing_changes_only_the_scalar(source in source(), new in text(), pick in any::<prop::sample::Index>()) {
        let documents = parse(&source).expect("YAML");
        let scalars = documents[0].scalars();
        let at = &scalars[pick.index(scalars.len())];
        let edit = replace_node(&source, at.node, &new).expect("an edit");
        let span = edit.span.clone();
        let changed = apply_edits(&source, &[edit]).expect("the edit fits");
        prop_assert!(changed.starts_with(&source[..span.start]));
        prop_assert!(changed.ends_with(&source[span.end..]));

        let mut want = from_str(&source).expect("YAML");
        let pointer: String = at.path.iter().map(|step| match step {
            weir_yaml::Step::Key(key) => format!("/{key}"),
            weir_yaml::Step::Index(i) => format!("/{i}"),
        }).collect();
        *want.pointer_mut(&pointer).expect("the scalar's place") = Value::from(new);
        prop_assert_eq!(from_str(&changed), Ok(want), "{}", changed);
    }
}

#[test]
fn bounds_hold() {
    let deep = "[".repeat(300);
    assert!(matches!(
        from_str(&deep),
        Err(YamlError::Limit { .. } | YamlError::Syntax { .. })
    ));
    let within = format!("{}{}", "[".repeat(199), "]".repeat(199));
    let value = from_str(&within).expect("within the bound");
    assert_eq!(from_str(&to_string(&value)), Ok(value));
    let deep = "- ".repeat(100_000);
    assert!(from_str(&deep).is_err());
    let small = Reader {
        limits: Limits {
            bytes: 4,
            ..Limits::default()
        },
        ..Reader::default()
    };
    assert!(matches!(
        small.read("a: bcd"),
        Err(YamlError::Limit { limit: 4, .. })
    ));
    let big = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1 << 16),
        "*a,".repeat(900)
    );
    let few = Reader {
        limits: Limits {
            expanded: 1 << 20,
            ..Limits::default()
        },
        ..Reader::default()
    };
    assert!(matches!(
        few.read(&big),
        Err(YamlError::Limit {
            what: "bytes of values",
            ..
        })
    ));
}

#[test]
fn failures_say_where_and_what_to_do() {
    let said = |text: &str| from_str(text).expect_err("a failure").to_string();
    assert_eq!(
        said("a: 1\nb: .inf\n"),
        "line 2, column 4: infinity and not-a-number cannot be written as JSON; use a finite number or quote the text"
    );
    assert_eq!(
        said("~: 1\n"),
        "line 1, column 1: a mapping key is null, and JSON keys are text; quote the key"
    );
    assert_eq!(
        said("a: [1\n"),
        "line 1, column 4: this is not valid YAML: unclosed bracket '['; correct the text there"
    );
    assert!(said("a: \u{1}\n").starts_with("line 1, column 4: control character U+0001"));
}
