//! The tree: comments find their nodes, spans their bytes, and edits touch nothing else.

use weir_yaml::{Content, Document, Node, ScalarAt, Step, Style, apply_edits, parse, replace_node};

fn one(text: &str) -> Document {
    parse(text).expect("YAML").remove(0)
}

/// The scalars whose comment mentions the marker, as an image automation would look for them.
fn marked(document: &Document) -> Vec<String> {
    let hit = |at: &ScalarAt<'_>| {
        let line = at
            .node
            .line_comment
            .iter()
            .any(|c| c.text.contains("$imagepolicy"));
        let head = at
            .node
            .head_comments
            .iter()
            .any(|c| c.text.contains("$imagepolicy"));
        !at.node.is_absent() && (line || head && at.is_item())
    };
    let text = |node: &Node| node.scalar().map(|(text, _)| text.to_owned());
    document
        .scalars()
        .into_iter()
        .filter(hit)
        .filter_map(|at| text(at.node))
        .collect()
}

#[test]
fn markers_are_found_where_upstream_finds_them() {
    let m = r#"# {"$imagepolicy": "a:b"}"#;
    let cases: &[(String, &[&str])] = &[
        (format!("image: x:1 {m}\nother: y\n"), &["x:1"]),
        (format!("image: 'x:1'{m}\n"), &["x:1"]),
        (format!("image: \"x:1\" #{}\n", &m[2..]), &["x:1"]),
        (format!("l:\n- x:1 {m}\n- y\n"), &["x:1"]),
        (format!("l:\n  {m}\n  - x:1\n  - y\n"), &["x:1"]),
        (format!("{m}\nimage: x:1\n"), &[]),
        (format!("image: {m}\n  x:1\n"), &[]),
        (format!("image: {m}\nother: y\n"), &[]),
        (format!("image: {{a: x:1}} {m}\n"), &[]),
        (
            format!("image: {{\n  a: x:1, {m}\n  b: y {m}\n}}\n"),
            &["x:1", "y"],
        ),
        (format!("image: >- {m}\n  x:1\nother: y\n"), &["x:1"]),
        (format!("a: &t x:1 {m}\nb: *t {m}\n"), &["x:1"]),
        (format!("l:\n{m}\n\n- x:1\n"), &[]),
        (format!("l:\n{m}\n- name: x:1\n"), &[]),
        (format!("a: |\n  text {m}\nb: x:1 {m}\n"), &["x:1"]),
        (format!("a: 'q {m}'\n"), &[]),
        (
            format!("- a:\n  - b: x:1   {m}\n\n    c: é:2\t{m}\n"),
            &["x:1", "é:2"],
        ),
    ];
    for (text, want) in cases {
        let got: Vec<String> = marked(&one(text)).into_iter().collect();
        assert_eq!(&got, want, "{text}");
    }
}

#[test]
fn edits_keep_style_comments_and_layout() {
    let cases = [
        ("image: x:1   # c\n", "x:2", "image: x:2   # c\n"),
        ("image: 'x:1' # c\n", "it's", "image: 'it''s' # c\n"),
        ("image: \"x:1\"# c\n", "a\tb", "image: \"a\\tb\"# c\n"),
        ("tag: v1 # c\n", "1.10", "tag: \"1.10\" # c\n"),
        ("tag: v1\n", "yes", "tag: \"yes\"\n"),
        ("tag: 5\n", "v2", "tag: v2\n"),
        ("tag: !!int 5 # c\n", "v2", "tag: v2 # c\n"),
        ("tag: !!int &a 5 # c\n", "v2", "tag: &a v2 # c\n"),
        ("tag: !!str 5 # c\n", "6", "tag: !!str \"6\" # c\n"),
        ("tag: &a x # c\n", "", "tag: &a \"\" # c\n"),
        ("tag: {a: x}\n", "b: c", "tag: {a: 'b: c'}\n"),
        ("tag: {a: x}\n", "b,c", "tag: {a: 'b,c'}\n"),
        ("tag: x\n  y # c\nz: 1\n", "n", "tag: \"n\" # c\nz: 1\n"),
        ("tag: x # c\n", "a\nb", "tag: \"a\\nb\" # c\n"),
        (
            "tag: >- # c\n  x\n  y\n\nz: 1\n",
            "n",
            "tag: >- # c\n  n\n\nz: 1\n",
        ),
        (
            "tag: |+ # c\n   x\n\n",
            "n\nm\n",
            "tag: | # c\n   n\n   m\n\n",
        ),
        ("tag: | # c\n   x", "n\n", "tag: | # c\n   n\n"),
        ("tag: | # c\n  x\n", " n", "tag: \" n\" # c\n"),
        ("tag: &a |\n  x\n", "n", "tag: &a |-\n  n\n"),
        ("tag: &a|b |\n  x\n", "n", "tag: &a|b |-\n  n\n"),
        ("tag: |2\n    x\n", "n", "tag: \"n\"\n"),
        ("tag: |\r\n  x\r\n", "n\nm", "tag: |-\r\n  n\r\n  m\r\n"),
        (
            "tag:\n# c | d\n  |\n  x\n",
            "n",
            "tag:\n# c | d\n  |-\n  n\n",
        ),
    ];
    for (source, new, want) in cases {
        let document = one(source);
        let scalars = document.scalars();
        let node = match &document.root.content {
            Content::Mapping { .. } => scalars[0].node,
            _ => &document.root,
        };
        let edit = replace_node(source, node, new).expect("an edit");
        let got = apply_edits(source, &[edit]).expect("the edit fits");
        assert_eq!(got, want, "{source:?} with {new:?}");
        let read = weir_yaml::from_str(&got).expect("YAML");
        let value = read
            .pointer("/tag")
            .or_else(|| read.pointer("/image"))
            .cloned();
        let value = value.map(|v| v.get("a").cloned().unwrap_or(v));
        assert_eq!(value, Some(new.into()), "{got:?}");
    }
}

#[test]
fn edits_refuse_what_does_not_fit() {
    let edit = |span| weir_yaml::Edit {
        span,
        text: String::new(),
    };
    assert_eq!(apply_edits("abc", &[edit(0..2), edit(1..3)]), None);
    assert_eq!(apply_edits("abc", &[edit(2..9)]), None);
    assert_eq!(apply_edits("é", &[edit(1..2)]), None);
    assert_eq!(
        apply_edits("abc", &[edit(2..3), edit(0..1)]),
        Some("b".to_owned())
    );
    let document = one("a:\nb: [1]\n");
    let scalars = document.scalars();
    assert_eq!(replace_node("a:\nb: [1]\n", scalars[0].node, "x"), None);
}

#[test]
fn places_spans_and_heads() {
    let text = "# top\n\n# of a\na: 1 # one\nb:\n  # of item\n  - {c: |\n      t\n    }\n";
    let text = text.replace("{c: |\n      t\n    }", "c: |\n      t\n    d: [x, 'y']");
    let document = one(&text);
    let Content::Mapping { entries, .. } = &document.root.content else {
        panic!("a mapping")
    };
    assert_eq!(entries[0].key.head_comments.len(), 1);
    assert_eq!(entries[0].key.head_comments[0].text, " of a");
    assert_eq!(
        entries[0]
            .value
            .line_comment
            .as_ref()
            .map(|c| c.text.as_str()),
        Some(" one")
    );
    let item = &entries[1].value.items()[0];
    assert_eq!(item.head_comments[0].text, " of item");
    let literal = item.get("c").expect("c");
    assert_eq!(&text[literal.span.clone()], "|\n      t");
    assert_eq!((literal.place.line, literal.place.column), (7, 8));
    let list = item.get("d").expect("d");
    assert_eq!(&text[list.span.clone()], "[x, 'y']");
    assert_eq!(document.comments.len(), 4);
    let scalars = document.scalars();
    assert_eq!(
        scalars[1].path,
        [Step::Key("b".into()), Step::Index(0), Step::Key("c".into())]
    );
    assert_eq!(scalars[3].node.scalar(), Some(("y", Style::Single)));
}

#[test]
fn documents_of_a_stream() {
    let text = "# none\n---\na: 1\n---\n# only a comment\n---\n- b\n...\n";
    let documents = parse(text).expect("YAML");
    let empty: Vec<bool> = documents.iter().map(Document::is_empty).collect();
    assert_eq!(empty, [false, true, false]);
    let values = weir_yaml::from_str_all(text).expect("YAML");
    assert_eq!(
        values,
        [serde_json::json!({"a": 1}), serde_json::json!(["b"])]
    );
}
