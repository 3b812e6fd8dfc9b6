//! The corpus of edits: the whole text before and after, byte for byte. `«tag»` stands for the
//! marker `{"$imagepolicy": "demo:app:tag"}`, `«»` for the one without a part, and `«num:tag»` for
//! another policy's. A case with one text is left as it is.

use super::*;
use proptest::prelude::*;

fn mk_images() -> BTreeMap<String, ImageRef> {
    let image = |name: &str, tag: &str, digest: Option<&str>| ImageRef {
        name: name.into(),
        tag: tag.into(),
        digest: digest.map(str::to_owned),
    };
    let images = [
        ("demo:app", image("r.io/demo/app", "v2.0.0", None)),
        ("demo:num", image("r.io/num", "20", None)),
        ("demo:float", image("r.io/float", "1.10", None)),
        ("demo:pin", image("r.io/pin", "3.1", Some("sha256:abc"))),
    ];
    images
        .into_iter()
        .map(|(key, image)| (key.to_owned(), image))
        .collect()
}

fn marked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('«') {
        let (mark, after) = after.split_once('»').expect("a closing mark");
        let setter = match mark {
            "" => "demo:app".to_owned(),
            "tag" | "name" | "digest" => format!("demo:app:{mark}"),
            other => format!("demo:{other}"),
        };
        out.push_str(before);
        out.extend(["{\"$imagepolicy\": \"", &setter, "\"}"]);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Edits, and edits again: the second time there is nothing to do.
fn after(before: &str) -> String {
    let images = mk_images();
    let edited = edit(before, &images).unwrap_or_else(|e| panic!("{before}: {e}"));
    let again = edit(&edited.text, &images).unwrap_or_else(|e| panic!("{}: {e}", edited.text));
    assert_eq!(again.changes, [], "{}", edited.text);
    assert_eq!(again.text, edited.text);
    edited.text
}

fn check(cases: &[(&str, &str)]) {
    for (before, expected) in cases {
        assert_eq!(after(&marked(before)), marked(expected), "of:\n{before}");
    }
}

fn check_untouched(cases: &[&str]) {
    for text in cases {
        assert_eq!(after(&marked(text)), marked(text));
    }
}

#[test]
fn each_part_of_an_image_is_set() {
    check(&[
        (
            "image: r.io/demo/app:v1 # «»\n",
            "image: r.io/demo/app:v2.0.0 # «»\n",
        ),
        ("tag: v1 # «tag»\n", "tag: v2.0.0 # «tag»\n"),
        ("name: old # «name»\n", "name: r.io/demo/app # «name»\n"),
        ("digest: sha256:1 # «digest»\n", "digest: \"\" # «digest»\n"),
        ("digest: 'x' # «digest»\n", "digest: '' # «digest»\n"),
        (
            "digest: sha256:1 # «pin:digest»\n",
            "digest: sha256:abc # «pin:digest»\n",
        ),
        (
            "image: a # «pin»\n",
            "image: r.io/pin:3.1@sha256:abc # «pin»\n",
        ),
    ]);
}

#[test]
fn quotes_stay_and_come_where_they_are_needed() {
    check(&[
        ("tag: 'v1' # «tag»\n", "tag: 'v2.0.0' # «tag»\n"),
        ("tag: \"v1\" # «tag»\n", "tag: \"v2.0.0\" # «tag»\n"),
        ("tag: v1 # «num:tag»\n", "tag: \"20\" # «num:tag»\n"),
        ("tag: '1' # «num:tag»\n", "tag: '20' # «num:tag»\n"),
        ("tag: 1 # «num:tag»\n", "tag: \"20\" # «num:tag»\n"),
        ("tag: v1 # «float:tag»\n", "tag: \"1.10\" # «float:tag»\n"),
        ("tag: 1 # «tag»\n", "tag: v2.0.0 # «tag»\n"),
        ("tag: 1.5 # «tag»\n", "tag: v2.0.0 # «tag»\n"),
        ("tag: true # «tag»\n", "tag: v2.0.0 # «tag»\n"),
        ("tag: 2020-01-01 # «tag»\n", "tag: v2.0.0 # «tag»\n"),
        ("tag: ~ # «tag»\n", "tag: v2.0.0 # «tag»\n"),
        ("tag: null # «tag»\n", "tag: v2.0.0 # «tag»\n"),
        ("tag: '' # «tag»\n", "tag: 'v2.0.0' # «tag»\n"),
        ("tag: \"a\\u0041\" # «tag»\n", "tag: \"v2.0.0\" # «tag»\n"),
        ("tag: !!str 1 # «tag»\n", "tag: !!str v2.0.0 # «tag»\n"),
        ("tag: !!int 1 # «tag»\n", "tag: v2.0.0 # «tag»\n"),
        ("tag: 'it''s' # «tag»\n", "tag: 'v2.0.0' # «tag»\n"),
    ]);
}

#[test]
fn what_stands_around_stays() {
    check(&[
        ("tag: v1 # «tag»", "tag: v2.0.0 # «tag»"),
        ("\u{feff}tag: v1 # «tag»\n", "\u{feff}tag: v2.0.0 # «tag»\n"),
        (
            "%YAML 1.1\n---\ntag: v1 # «tag»\n",
            "%YAML 1.1\n---\ntag: v2.0.0 # «tag»\n",
        ),
        (
            "\n\ntag:   v1     # «tag»   \n\n\n",
            "\n\ntag:   v2.0.0     # «tag»   \n\n\n",
        ),
        (
            "tag: v1 # «tag»\r\nb: 1\r\n",
            "tag: v2.0.0 # «tag»\r\nb: 1\r\n",
        ),
        (
            "# top\n\n---\n# head\ntag: v1 # «tag»\n# foot\n...\n",
            "# top\n\n---\n# head\ntag: v2.0.0 # «tag»\n# foot\n...\n",
        ),
        (
            "a: 1\n---\ntag: v1 # «tag»\n---\n# only\n---\nz: {b: 1,  c: 2}\n",
            "a: 1\n---\ntag: v2.0.0 # «tag»\n---\n# only\n---\nz: {b: 1,  c: 2}\n",
        ),
        (
            "z: yes\ny: 0o7\nx: >\n  a\n   b\n\n  c\ntag: v1 # «tag»\nw: &a 1\nv: *a\n",
            "z: yes\ny: 0o7\nx: >\n  a\n   b\n\n  c\ntag: v2.0.0 # «tag»\nw: &a 1\nv: *a\n",
        ),
        (
            "a:\n- b:\n   - tag: v1 # «tag»\n     c: 1\n",
            "a:\n- b:\n   - tag: v2.0.0 # «tag»\n     c: 1\n",
        ),
        ("a: &x v1 # «tag»\nb: *x\n", "a: &x v2.0.0 # «tag»\nb: *x\n"),
        (
            "ü: \"ä\" # ö\ntag: v1 # «tag»\nemoji: 🎉\n",
            "ü: \"ä\" # ö\ntag: v2.0.0 # «tag»\nemoji: 🎉\n",
        ),
        ("? tag\n: v1 # «tag»\n", "? tag\n: v2.0.0 # «tag»\n"),
        ("tag: v1\t# «tag»\n", "tag: v2.0.0\t# «tag»\n"),
        (
            "a: 1\na: 2\ntag: v1 # «tag»\n",
            "a: 1\na: 2\ntag: v2.0.0 # «tag»\n",
        ),
        (
            "<<: {x: 1}\ntag: v1 # «tag»\n",
            "<<: {x: 1}\ntag: v2.0.0 # «tag»\n",
        ),
        ("\"tag\": v1 # «tag»\n", "\"tag\": v2.0.0 # «tag»\n"),
        (
            "tag: v1 # «tag»\nlong: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbb\n",
            "tag: v2.0.0 # «tag»\nlong: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbb\n",
        ),
    ]);
}

#[test]
fn marks_are_found_where_people_put_them() {
    check(&[
        ("tag: v1 #«tag»\n", "tag: v2.0.0 #«tag»\n"),
        (
            "tag: v1 # { \"$imagepolicy\" : \"demo:app:tag\" }\n",
            "tag: v2.0.0 # { \"$imagepolicy\" : \"demo:app:tag\" }\n",
        ),
        (
            "tag: v1 # {\"x\": \"y\", \"$imagepolicy\": \"demo:app:tag\"}\n",
            "tag: v2.0.0 # {\"x\": \"y\", \"$imagepolicy\": \"demo:app:tag\"}\n",
        ),
        ("- v1 # «tag»\n- v1\n", "- v2.0.0 # «tag»\n- v1\n"),
        ("a:\n  - v1 # «tag»\n", "a:\n  - v2.0.0 # «tag»\n"),
        (
            "a:\n  # «tag»\n  - v1\n  - v1\n",
            "a:\n  # «tag»\n  - v2.0.0\n  - v1\n",
        ),
        (
            "a:\n  # other\n  # «tag»\n  - v1\n",
            "a:\n  # other\n  # «tag»\n  - v2.0.0\n",
        ),
        (
            "a: {\n  tag: v1, # «tag»\n  b: 1\n}\n",
            "a: {\n  tag: v2.0.0, # «tag»\n  b: 1\n}\n",
        ),
        (
            "a: [\n  v1, # «tag»\n  v1\n]\n",
            "a: [\n  v2.0.0, # «tag»\n  v1\n]\n",
        ),
        (
            "a: {\n  tag: 'v1' # «tag»\n}\n",
            "a: {\n  tag: 'v2.0.0' # «tag»\n}\n",
        ),
        (
            "tag: | # «tag»\n  v1\nb: 1\n",
            "tag: |- # «tag»\n  v2.0.0\nb: 1\n",
        ),
        (
            "tag: >- # «tag»\n  v1\nb: 1\n",
            "tag: >- # «tag»\n  v2.0.0\nb: 1\n",
        ),
        (
            "a: v1 # «tag»\nb: old # «name»\nc: x # «»\n",
            "a: v2.0.0 # «tag»\nb: r.io/demo/app # «name»\nc: r.io/demo/app:v2.0.0 # «»\n",
        ),
        (
            "images:\n  - name: app\n    newName: old # «name»\n    newTag: v1 # «tag»\n",
            "images:\n  - name: app\n    newName: r.io/demo/app # «name»\n    newTag: v2.0.0 # «tag»\n",
        ),
        (
            "kind: List\nitems:\n- kind: Pod\n  spec:\n    image: x # «»\n- kind: Pod\n",
            "kind: List\nitems:\n- kind: Pod\n  spec:\n    image: r.io/demo/app:v2.0.0 # «»\n- kind: Pod\n",
        ),
        (
            "kind: HelmRelease\nspec:\n  values:\n    image:\n      repository: x # «name»\n      tag: y # «tag»\n",
            "kind: HelmRelease\nspec:\n  values:\n    image:\n      repository: r.io/demo/app # «name»\n      tag: v2.0.0 # «tag»\n",
        ),
        (
            "{\"a\": \"v1\" # «tag»\n}\n",
            "{\"a\": \"v2.0.0\" # «tag»\n}\n",
        ),
    ]);
}

#[test]
fn anything_else_is_a_comment() {
    check_untouched(&[
        "",
        "# nothing\n",
        "tag: v2.0.0 # «tag»\n",
        "tag: v1\n",
        "tag: v1 # «other:tag»\n",
        "tag: v1 # «app:size»\n",
        "tag: v1 # set by «tag»\n",
        "tag: v1 # «tag» please\n",
        "tag: v1 # {'$imagepolicy': 'demo:app:tag'}\n",
        "tag: v1 # {\"$imagepolicy\": 1}\n",
        "tag: v1 # {\"$imagepolicy\": \"demo:app:tag\", \"n\": 1}\n",
        "tag: v1 # {\"imagepolicy\": \"demo:app:tag\"}\n",
        "tag: v1 # {\"$imagepolicy\": \"far:app:tag\"}\n",
        "tag: v1 # {\"$imagepolicy\": \"app:tag\"}\n",
        "tag: v1 # {\"$imagepolicy\": \"\"}\n",
        "tag: v1 # {\"$imagepolicy\": \"demo:app:tag\"\n",
        "# «tag»\ntag: v1\n",
        "tag: # «tag»\n",
        "tag: # «tag»\nb: 1\n",
        "tag: # «tag»\n  v1\n",
        "a: [v1, v1] # «tag»\n",
        "a: {tag: v1} # «tag»\n",
        "a: &x v1\nb: *x # «tag»\n",
        "tag: v1\n# «tag»\n",
        "a:\n  # «tag»\n\n  - v1\n",
        "a:\n  # «tag»\n  - v1 # hidden\n",
        "text: |\n  tag: v1 # «tag»\n",
        "text: 'tag: v1 # «tag»'\n",
        "tag: 1.10 # «float:tag»\n",
    ]);
}

#[test]
fn changes_tell_where_they_are() {
    let text = marked(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\n  namespace: demo\n\
         spec: x # «»\n---\nkind: List\nitems:\n- kind: Pod\n  metadata: {name: p}\n  image: y # «tag»\n",
    );
    let changes = edit(&text, &mk_images()).expect("edited").changes;
    let object = |api_version: &str, kind: &str, namespace: &str, name: &str| ObjectId {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
    };
    let expected = [
        Change {
            object: object("apps/v1", "Deployment", "demo", "a"),
            old: "x".into(),
            new: "r.io/demo/app:v2.0.0".into(),
            setter: "demo:app".into(),
        },
        Change {
            object: object("", "Pod", "", "p"),
            old: "y".into(),
            new: "v2.0.0".into(),
            setter: "demo:app:tag".into(),
        },
    ];
    assert_eq!(changes, expected);
}

#[test]
fn what_is_no_yaml_is_told() {
    for text in [
        "a: [\n",
        "a: 'b\n",
        "a: b: c\n",
        "\ta: 1\n",
        "a: {{ .x }}: {\n",
    ] {
        let text = format!("{text}tag: v1 # {{\"$imagepolicy\": \"demo:app:tag\"}}\n");
        assert!(edit(&text, &mk_images()).is_err(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the tag and whatever the style: the value reads back as exactly the tag, and all
    /// other bytes are as they were.
    #[test]
    fn a_tag_is_read_back_as_it_is(tag in "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", style in 0..3_usize) {
        let image = ImageRef { name: "r.io/a".into(), tag: tag.clone(), digest: None };
        let images = BTreeMap::from([("demo:app".to_owned(), image)]);
        let old = ["old", "'old'", "\"old\""][style];
        let mark = "# {\"$imagepolicy\": \"demo:app:tag\"}";
        let (head, tail) = ("a:\r\n  - b:   ", format!("   {mark}\r\n# end"));
        let edited = edit(&format!("{head}{old}{tail}"), &images).expect("edited");
        prop_assert!(edited.text.starts_with(head) && edited.text.ends_with(&tail));
        let value: serde_json::Value = weir_yaml::from_str(&edited.text).expect("read");
        prop_assert_eq!(value["a"][0]["b"].as_str(), Some(tag.as_str()));
    }

    /// No text makes it panic, and without a marker none is changed.
    #[test]
    fn any_text_is_survived(text in "\\PC{0,60}") {
        if let Ok(edited) = edit(&text, &mk_images()) {
            prop_assert_eq!(edited.text, text);
        }
    }
}
