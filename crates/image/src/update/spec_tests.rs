//! Tests of reading a spec and its source.

use super::*;
use serde_json::{Value, json};

fn mk_spec(change: &Value) -> Spec {
    let mut spec = json!({"sourceRef": {"kind": "GitRepository", "name": "config"},
        "interval": "1m", "git": {"commit": {"author": {"email": "bot@example.com"}}}});
    let git = change.get("git").and_then(Value::as_object).cloned();
    for (name, value) in git.into_iter().flatten() {
        spec["git"][name] = value;
    }
    for (name, value) in change.as_object().expect("a map") {
        if name != "git" || value.is_null() {
            spec[name] = value.clone();
        }
    }
    serde_json::from_value(spec).expect("a spec")
}

fn mk_source(reference: &Value) -> git_repository::Spec {
    serde_json::from_value(json!({"url": "http://git/config.git", "interval": "1m",
        "ref": reference}))
    .expect("a source")
}

fn told(change: &Value, reference: &Value) -> String {
    let read = wanted(&mk_spec(change), "demo", true);
    match read.and_then(|wanted| target(&wanted, &mk_source(reference))) {
        Ok(target) => {
            let from = match target.choice {
                Choice::Exact(reference) => reference.to_string(),
                Choice::Range(range) => format!("range {}", range.original()),
            };
            let also = target
                .also
                .map_or(String::new(), |(to, _)| format!(" and {to}"));
            let switched = if target.switched { " (switched)" } else { "" };
            format!("{from} to {}{also}{switched}", target.push_branch)
        }
        Err(trouble) => format!("{} {:?}: {}", trouble.reason, trouble.next, trouble.message),
    }
}

#[test]
fn where_to_push_follows_from_where_to_check_out() {
    let main = json!({"branch": "main"});
    let oid = "0123456789abcdef0123456789abcdef01234567";
    for (change, reference, expected) in [
        (json!({}), main.clone(), "branch `main` to main"),
        (json!({}), Value::Null, "branch `master` to master"),
        (
            json!({"git": {"push": {"branch": "main"}}}),
            main.clone(),
            "branch `main` to main",
        ),
        (
            json!({"git": {"push": {"branch": "up"}}}),
            main.clone(),
            "branch `main` to up (switched)",
        ),
        (
            json!({"git": {"checkout": {"ref": {"branch": "dev"}}}}),
            main.clone(),
            "branch `dev` to dev",
        ),
        (
            json!({"git": {"push": {"branch": "up"}}}),
            json!({"tag": "v1"}),
            "tag `v1` to up (switched)",
        ),
        (
            json!({"git": {"push": {"branch": "up"}}}),
            json!({"semver": "1.x"}),
            "range 1.x to up (switched)",
        ),
        (
            json!({}),
            json!({"name": "refs/heads/x"}),
            "branch `x` to x",
        ),
        (
            json!({"git": {"push": {"refspec": "HEAD:refs/for/main"}}}),
            main.clone(),
            "branch `main` to main and refs/for/main",
        ),
        (
            json!({"git": {"push": {"refspec": "main:staging"}}}),
            main.clone(),
            "branch `main` to main and refs/heads/staging",
        ),
        (
            json!({}),
            json!({"tag": "v1"}),
            "SourceManagerFailed Event: the revision to check out",
        ),
        (
            json!({}),
            json!({"commit": oid, "branch": "main"}),
            "SourceManagerFailed Event: the revision to check out is not a branch",
        ),
        (
            json!({}),
            json!({"semver": "nope"}),
            "SourceManagerFailed Event",
        ),
        (
            json!({}),
            json!({"branch": "a b"}),
            "SourceManagerFailed Event",
        ),
    ] {
        let text = told(&change, &reference);
        assert!(text.starts_with(expected), "{text} is not {expected}");
    }
}

#[test]
fn each_field_that_stands_in_the_way_is_named() {
    let author = |author: Value| json!({"git": {"commit": {"author": author}}});
    for (change, expected) in [
        (
            json!({"git": null}),
            "InvalidSourceConfiguration Never: `spec.git`",
        ),
        (json!({"interval": "x"}), "Failed Never: `spec.interval`"),
        (
            json!({"policySelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}),
            "InvalidPolicySelector Never: `spec.policySelector`",
        ),
        (
            json!({"git": {"commit": {"author": {"email": "a"}, "signingKey": {"secretRef": {"name": "k"}}}}}),
            "Unsupported Never: `spec.git.commit.signingKey`",
        ),
        (
            json!({"git": {"push": {"options": {"a": "b"}}}}),
            "Unsupported Never: `spec.git.push.options`",
        ),
        (
            author(json!({"email": ""})),
            "Failed Never: `spec.git.commit.author.email`",
        ),
        (
            author(json!({"email": "a", "name": "x <y>"})),
            "Failed Never: `spec.git.commit.author.name`",
        ),
        (
            json!({"git": {"commit": {"author": {"email": "a"}, "messageTemplate": "{{ if }}"}}}),
            "Failed Never: `spec.git.commit.messageTemplate`",
        ),
        (
            json!({"update": {"path": "../x"}}),
            "Failed Never: `spec.update.path`",
        ),
        (
            json!({"git": {"push": {"branch": "a..b"}}}),
            "Failed Never: `spec.git.push.branch`",
        ),
        (
            json!({"git": {"push": {"refspec": "+HEAD:refs/heads/x"}}}),
            "Failed Never: `spec.git.push.refspec`",
        ),
        (
            json!({"git": {"push": {"refspec": "other:x"}}}),
            "Failed Never: `spec.git.push.refspec`",
        ),
    ] {
        let text = told(&change, &json!({"branch": "main"}));
        assert!(text.starts_with(expected), "{text} is not {expected}");
    }
    let far =
        mk_spec(&json!({"sourceRef": {"kind": "GitRepository", "name": "c", "namespace": "far"}}));
    let denied = wanted(&far, "demo", false)
        .map(|w| w.source)
        .expect_err("denied");
    assert_eq!(denied.reason, "AccessDenied");
    assert_eq!(
        wanted(&far, "demo", true).expect("read").source,
        Key::new("far", "c")
    );
}

#[test]
fn the_revision_to_check_out_is_found() {
    let refs: Vec<RemoteRef> = [
        ("refs/heads/main", "a"),
        ("refs/tags/1.0.0", "b"),
        ("refs/tags/1.2.0", "c"),
    ]
    .into_iter()
    .map(|(name, oid)| RemoteRef {
        name: name.into(),
        oid: oid.into(),
        peeled: None,
    })
    .collect();
    let at = |reference: Value, refs: &[RemoteRef]| {
        let reference: SpecReference = serde_json::from_value(reference).expect("a reference");
        let choice = choice(&reference).expect("a choice");
        head(&choice, refs, "http://git").map(|(_, head)| head.revision)
    };
    assert_eq!(
        at(json!({"branch": "main"}), &refs),
        Ok("main@sha1:a".into())
    );
    assert_eq!(
        at(json!({"semver": "1.x"}), &refs),
        Ok("1.2.0@sha1:c".into())
    );
    assert!(at(json!({"semver": "2.x"}), &refs).is_err_and(|e| e.contains("`2.x`")));
    assert!(at(json!({"branch": "x"}), &refs).is_err_and(|e| e.contains("branch `x`")));
    assert!(at(json!({"branch": "x"}), &[]).is_err_and(|e| e.contains("is empty")));
}
