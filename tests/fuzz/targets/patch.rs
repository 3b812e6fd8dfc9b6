#![no_main]
//! JSON, merge and strategic patches of a Deployment and of a custom object: what is kept is sound,
//! and what is refused leaves the object as it was.
//! The first byte chooses the kind of patch and the object, the rest is the patch.

use http::Method;
use libfuzzer_sys::fuzz_target;
use weir_fuzz::{DEPLOYMENTS, SERVER, WIDGETS, ask, holds, sound};

const KINDS: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

fuzz_target!(|data: &[u8]| {
    let Some((choice, patch)) = data.split_first() else {
        return;
    };
    let kind = KINDS[usize::from(*choice) % KINDS.len()];
    let custom = choice & 0x80 != 0;
    let path = if custom {
        format!("{WIDGETS}/w")
    } else {
        format!("{DEPLOYMENTS}/app")
    };
    if custom && ask(&SERVER, Method::GET, &path, "", b"").code == 404 {
        let body = br#"{"apiVersion":"fuzz.example.com/v1","kind":"Widget","metadata":{"name":"w"},
            "spec":{"size":3,"set":["a"],"parts":[{"name":"p","value":1}],"labels":{"a":"b"}}}"#;
        let made = ask(&SERVER, Method::POST, WIDGETS, "application/json", body);
        assert_eq!(made.code, 201, "{made:?}");
    }
    let before = ask(&SERVER, Method::GET, &path, "", b"").body;
    let target = format!("{path}?dryRun=All");
    let answer = ask(&SERVER, Method::PATCH, &target, kind, patch);
    holds(&answer, || format!("{kind} on {path}"));
    if answer.code < 300 {
        sound(&answer.body);
    }
    let after = ask(&SERVER, Method::GET, &path, "", b"").body;
    assert_eq!(before, after, "a dry run or a refusal changed the object");
});
