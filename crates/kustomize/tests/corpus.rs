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
        let name = line.trim_end().strip_prefix("-- ").and_then(|l| l.strip_suffix(" --"));
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

#[test]
fn recorded_builds_come_out_the_same() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .expect("the corpus")
        .map(|e| e.expect("an entry").path())
        .collect();
    names.sort();
    assert!(names.len() >= 60, "only {} cases", names.len());
    let options = Options { order: Order::Legacy, ..Options::default() };
    let mut wrong = Vec::new();
    for path in names {
        let (files, expected) = case(&std::fs::read_to_string(&path).expect("text"));
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        match build(&files, "app", &options) {
            Ok(_) if expected == "refused\n" => wrong.push(format!("{name}: built")),
            Ok(built) if built.to_yaml() != expected => {
                wrong.push(format!("{name}:\n{}\n--- expected\n{expected}", built.to_yaml()));
            }
            Err(e) if expected != "refused\n" => wrong.push(format!("{name}: {e}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn upstream_builds_of_covered_fields_come_out_the_same() {
    let Ok(dir) = std::env::var("WEIR_KUSTOMIZE_CORPUS") else { return };
    let (mut equal, mut differ, mut other, mut refused) = (0, Vec::new(), 0, 0);
    let mut cases: Vec<_> =
        std::fs::read_dir(dir).expect("the corpus").map(|e| e.expect("an entry").path()).collect();
    cases.sort();
    for case in cases {
        let Ok(meta) = std::fs::read_to_string(case.join("meta.json")) else { continue };
        let meta: serde_json::Value = serde_json::from_str(&meta).expect("JSON");
        let legacy = meta["reorder"] == "legacy";
        let order = if legacy { Order::Legacy } else { Order::Fifo };
        let files = DirectoryFiles::new(case.join("input"));
        let path = meta["path"].as_str().unwrap_or_default().trim_start_matches('/');
        let expected = std::fs::read_to_string(case.join("expected.yaml"));
        match (build(&files, path, &Options { order, ..Options::default() }), expected) {
            (Ok(built), Ok(expected)) if built.to_yaml() == expected => equal += 1,
            (Ok(built), Ok(expected)) => differ.push(format!(
                "{}:\n{}\n--- expected\n{expected}",
                case.display(),
                built.to_yaml()
            )),
            (Ok(_), Err(_)) => differ.push(format!("{}: built, but upstream refuses", case.display())),
            (Err(BuildError::NotBuilt(_)), _) => other += 1,
            (Err(_), Err(_)) => refused += 1,
            (Err(e), Ok(_)) => differ.push(format!("{}: {e}", case.display())),
        }
    }
    println!("{equal} equal, {refused} refused by both, {other} use other fields, {} differ", differ.len());
    println!("{}", differ.join("\n"));
}
