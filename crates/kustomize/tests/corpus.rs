//! Builds recorded from `kubectl kustomize`: the same input must give the same bytes.
//!
//! A case is one text: files as `-- path --` and their text, the last of them `-- output --`. With
//! `WEIR_KUSTOMIZE_CORPUS` set to a directory of kustomize's own recorded builds (`input/`,
//! `meta.json`, `expected.yaml`), those that use covered fields only are compared too.

use std::collections::BTreeMap;
use std::path::Path;

use weir_kustomize::{BuildError, DirectoryFiles, MemoryFiles, Options, Order, build};

fn case(text: &str) -> (MemoryFiles, String) {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut at = String::new();
    for line in text.split_inclusive('\n') {
        let name = line
            .trim_end()
            .strip_prefix("-- ")
            .and_then(|l| l.strip_suffix(" --"));
        match name {
            Some(name) => {
                name.clone_into(&mut at);
                files.insert(at.clone(), String::new());
            }
            None => files.entry(at.clone()).or_default().push_str(line),
        }
    }
    let output = files.remove("output").unwrap_or_default();
    (MemoryFiles(files), output)
}

fn first_difference(found: &str, expected: &str) -> String {
    let same = found
        .lines()
        .zip(expected.lines())
        .take_while(|(a, b)| a == b)
        .count();
    let (a, b) = (found.lines().nth(same), expected.lines().nth(same));
    format!("line {}: {a:?} instead of {b:?}", same + 1)
}

#[test]
fn recorded_builds_come_out_the_same() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .expect("the corpus")
        .map(|e| e.expect("an entry").path())
        .collect();
    names.sort();
    assert!(names.len() >= 60, "only {} cases", names.len());
    let options = Options {
        order: Order::Legacy,
        ..Options::default()
    };
    let mut wrong = Vec::new();
    for path in names {
        let (files, expected) = case(&std::fs::read_to_string(&path).expect("text"));
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        match build(&files, "app", &options) {
            Ok(_) if expected == "refused\n" => wrong.push(format!("{name}: built")),
            Ok(built) if built.to_yaml() != expected => {
                wrong.push(format!(
                    "{name}: {}",
                    first_difference(&built.to_yaml(), &expected)
                ));
            }
            Err(e) if expected != "refused\n" => wrong.push(format!("{name}: {e}")),
            _ => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn upstream_builds_of_covered_fields_come_out_the_same() {
    let Ok(dir) = std::env::var("WEIR_KUSTOMIZE_CORPUS") else {
        return;
    };
    let (mut equal, mut differ, mut other, mut refused) = (0, Vec::new(), 0, 0);
    let mut cases: Vec<_> = std::fs::read_dir(dir)
        .expect("the corpus")
        .map(|e| e.expect("an entry").path())
        .collect();
    cases.sort();
    for case in cases {
        let Ok(meta) = std::fs::read_to_string(case.join("meta.json")) else {
            continue;
        };
        let meta: serde_json::Value = serde_json::from_str(&meta).expect("JSON");
        let legacy = meta["reorder"] == "legacy";
        let order = if legacy { Order::Legacy } else { Order::Fifo };
        let files = DirectoryFiles::new(case.join("input"));
        let path = meta["path"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches('/');
        let expected = std::fs::read_to_string(case.join("expected.yaml"));
        match (
            build(
                &files,
                path,
                &Options {
                    order,
                    ..Options::default()
                },
            ),
            expected,
        ) {
            (Ok(built), Ok(expected)) if built.to_yaml() == expected => equal += 1,
            (Ok(built), Ok(expected)) => {
                let what = first_difference(&built.to_yaml(), &expected);
                differ.push(format!("{}: {what}", case.display()));
            }
            (Ok(_), Err(_)) => {
                differ.push(format!("{}: built, but upstream refuses", case.display()));
            }
            (Err(BuildError::NotBuilt(_)), _) => other += 1,
            (Err(_), Err(_)) => refused += 1,
            (Err(e), Ok(_)) => differ.push(format!("{}: {e}", case.display())),
        }
    }
    println!(
        "{equal} equal, {refused} refused by both, {other} use other fields, {} differ",
        differ.len()
    );
    println!("{}", differ.join("\n"));
}

fn files(pairs: &[(&str, &str)]) -> MemoryFiles {
    MemoryFiles::new(pairs.iter().copied())
}

#[test]
fn a_directory_without_a_kustomization_is_built_from_its_manifests() {
    let object =
        |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let [a, b, c, d] = ["a", "b", "c", "d"].map(object);
    let files = files(&[
        ("app/b.yaml", &b),
        ("app/a/deep/x.yml", &a),
        ("app/.dot/y.yaml", &d),
        ("app/notes.txt", "not YAML: ["),
        (
            "app/sub/kustomization.yaml",
            "resources: [c.yaml]\nnamespace: inner\n",
        ),
        ("app/sub/c.yaml", &c),
        ("app/sub/unused.yaml", "nor: [this"),
        ("other/z.yaml", "kind: ["),
    ]);
    let mut options = Options {
        generate: true,
        ..Options::default()
    };
    let names = |options: &Options| -> Vec<String> {
        let built = build(&files, "app", options).expect("built");
        built.objects.iter().map(|o| o.key().to_string()).collect()
    };
    assert_eq!(names(&options), ["d", "a", "b", "inner/c"]);
    options.overrides.namespace = Some("outer".to_owned());
    assert_eq!(
        names(&options),
        ["outer/d", "outer/a", "outer/b", "outer/c"]
    );
    options.generate = false;
    assert_eq!(
        build(&files, "app", &options)
            .expect_err("refused")
            .to_string(),
        "directory `app` has none of kustomization.yaml, kustomization.yml and Kustomization; add one"
    );
    let empty = build(
        &MemoryFiles::default(),
        "",
        &Options {
            generate: true,
            ..options
        },
    );
    assert_eq!(empty.expect("built").to_yaml(), "");
}

#[test]
fn images_of_the_outside_are_merged_by_name() {
    let files = files(&[
        (
            "kustomization.yaml",
            "resources: [a.yaml]\nimages: [{name: a, newName: b, newTag: '1'}]\n",
        ),
        (
            "a.yaml",
            "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: a}, {image: c}]}\n",
        ),
    ]);
    let image = |name: &str, new_tag: &str, digest: &str| weir_kustomize::Image {
        name: name.into(),
        new_tag: new_tag.into(),
        digest: digest.into(),
        ..weir_kustomize::Image::default()
    };
    let mut options = Options::default();
    options.overrides.images = vec![image("a", "", "sha256:1"), image("c", "2", "")];
    let built = build(&files, "", &options).expect("built");
    assert_eq!(
        built.objects[0].text(&["spec", "containers", "0", "image"]),
        "b@sha256:1"
    );
    assert_eq!(
        built.objects[0].text(&["spec", "containers", "1", "image"]),
        "c:2"
    );
}

#[test]
fn refusals_say_file_line_and_field() {
    let refused = |pairs: &[(&str, &str)], dir: &str| {
        build(&files(pairs), dir, &Options::default())
            .expect_err("refused")
            .to_string()
    };
    let root = |text| [("app/kustomization.yaml", text)];
    assert_eq!(
        refused(&root("resources:\n- a.yaml\n"), "app"),
        "`app/kustomization.yaml` line 2, field `resources[0]`: `a.yaml` is neither a file nor a \
         directory; add it or remove the entry"
    );
    assert_eq!(
        refused(&root("resources:\n- ../../etc/passwd\n"), "app"),
        "`app/kustomization.yaml` line 2, field `resources[0]`: `../../etc/passwd` leads out of the \
         source; keep all files inside of it"
    );
    assert!(
        refused(&root("resources: ['https://example.com/a.yaml']"), "app")
            .contains("nothing is fetched")
    );
    assert_eq!(
        refused(&root(""), "none"),
        "directory `none` does not exist; correct the path"
    );
    let ring = [
        ("a/kustomization.yaml", "resources: [../b]"),
        ("b/kustomization.yaml", "resources: [../a]"),
    ];
    assert_eq!(
        refused(&ring, "a"),
        "`b/kustomization.yaml` line 1, field `resources[0]`: `../a` contains the kustomization that \
         names it; remove the entry"
    );
}

#[test]
fn builds_are_bounded() {
    let object = "kind: A\nmetadata: {name: a}\n---\nkind: A\nmetadata: {name: b}\n";
    let pairs = [
        ("kustomization.yaml", "resources: [a.yaml, d]"),
        ("a.yaml", object),
        ("d/kustomization.yaml", "resources: [b.yaml]"),
        ("d/b.yaml", "kind: B\nmetadata: {name: b}\n"),
    ];
    let limits = weir_kustomize::Limits::default();
    for (limits, what) in [
        (
            weir_kustomize::Limits {
                objects: 1,
                ..limits
            },
            "1 objects",
        ),
        (weir_kustomize::Limits { files: 2, ..limits }, "2 files"),
        (
            weir_kustomize::Limits {
                bytes: 40,
                ..limits
            },
            "40 bytes",
        ),
        (
            weir_kustomize::Limits {
                file_bytes: 25,
                ..limits
            },
            "larger than 25 bytes",
        ),
        (
            weir_kustomize::Limits { depth: 0, ..limits },
            "0 kustomizations",
        ),
    ] {
        let options = Options {
            limits,
            ..Options::default()
        };
        let text = build(&files(&pairs), "", &options)
            .expect_err("refused")
            .to_string();
        assert!(text.contains(what), "{text}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_ends_in_a_panic(text in ".{0,200}", resource in "[a-z:\\-\\[\\]{}#\n ]{0,200}") {
        let pairs = [("kustomization.yaml", text.as_str()), ("k/kustomization.yaml", "resources: [a.yaml]"), ("k/a.yaml", resource.as_str())];
        let _ = build(&files(&pairs), "", &Options::default());
        let _ = build(&files(&pairs), "k", &Options::default());
    }
}
