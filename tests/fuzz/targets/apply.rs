#![no_main]
//! Applies by several managers: what is kept is sound, and the same apply again changes nothing.
//! The input is a sequence of configurations, divided by zero bytes; each one's first byte chooses
//! the manager, the object and whether to force.

use http::Method;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use weir_fuzz::{DEPLOYMENTS, WIDGETS, ask, holds, server, sound};

fuzz_target!(|data: &[u8]| {
    let server = server();
    for step in data.split(|byte| *byte == 0).take(8) {
        let Some((choice, config)) = step.split_first() else {
            continue;
        };
        let manager = ["a", "b", "c", "d"][usize::from(choice & 3)];
        let force = choice & 4 != 0;
        let custom = choice & 8 != 0;
        let (path, kind, version) = if custom {
            (format!("{WIDGETS}/w"), "Widget", "fuzz.example.com/v1")
        } else {
            (format!("{DEPLOYMENTS}/app"), "Deployment", "apps/v1")
        };
        // A configuration is an object of the kind more often than chance would make it one.
        let body = match serde_json::from_slice::<Value>(config) {
            Ok(Value::Object(mut map)) => {
                map.entry("apiVersion").or_insert_with(|| version.into());
                map.entry("kind").or_insert_with(|| kind.into());
                Value::Object(map).to_string().into_bytes()
            }
            _ => config.to_vec(),
        };
        let target = format!("{path}?fieldManager={manager}&force={force}");
        let apply = || {
            ask(
                &server,
                Method::PATCH,
                &target,
                "application/apply-patch+yaml",
                &body,
            )
        };
        let first = apply();
        holds(&first, || format!("apply by {manager} on {path}"));
        if first.code < 300 {
            sound(&first.body);
            let again = apply();
            assert!(again.code < 300, "{again:?}");
            assert_eq!(first.body, again.body, "the same apply changed something");
        }
    }
});
