//! Owns the rules of probes and lifecycle handlers.

use serde_json::Value;

use crate::builtin::checks::{At, Checks, int, list, of, text};
use crate::builtin::names;

/// The lifecycle and probes of a container.
pub(super) fn check(container: &Value, at: At<'_>, grace: i64, checks: &mut Checks) {
    let lifecycle = of(container, "lifecycle");
    for hook in ["postStart", "preStop"] {
        if let Some(of_hook) = lifecycle.get(hook).filter(|v| !v.is_null()) {
            let at = at.field("lifecycle");
            handler(of_hook, at.field(hook), grace, checks);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let of_probe = of(container, name);
        if of_probe.is_null() {
            continue;
        }
        let at = at.field(name);
        probe(of_probe, at, grace, checks);
        if name == "readinessProbe" {
            if let Some(seconds) = int(of_probe, "terminationGracePeriodSeconds") {
                let detail = "must not be set for readinessProbes";
                checks.invalid(
                    at.field("terminationGracePeriodSeconds"),
                    &seconds.into(),
                    detail,
                );
            }
        } else if let Some(count) = int(of_probe, "successThreshold").filter(|n| *n != 1) {
            checks.invalid(at.field("successThreshold"), &count.into(), "must be 1");
        }
    }
}

fn probe(probe: &Value, at: At<'_>, grace: i64, checks: &mut Checks) {
    handler(probe, at, grace, checks);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        checks.not_negative(at, probe, field);
    }
    if let Some(seconds) = int(probe, "terminationGracePeriodSeconds").filter(|s| *s <= 0) {
        let at = at.field("terminationGracePeriodSeconds");
        checks.invalid(at, &seconds.into(), "must be greater than 0");
    }
}

fn handler(handler: &Value, at: At<'_>, grace: i64, checks: &mut Checks) {
    let mut count = 0;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let action = of(handler, kind);
        if action.is_null() {
            continue;
        }
        if count > 0 {
            checks.forbidden(at.field(kind), "may not specify more than 1 handler type");
            continue;
        }
        count += 1;
        let at = at.field(kind);
        match kind {
            "exec" if list(action, "command").is_empty() => {
                checks.required(at.field("command"), "");
            }
            "httpGet" => http(action, at, checks),
            "tcpSocket" => checks.port_or_name(at.field("port"), of(action, "port")),
            "grpc" => checks.port(at.field("port"), int(action, "port").unwrap_or_default()),
            "sleep" => {
                let seconds = int(action, "seconds").unwrap_or_default();
                if seconds < 0 || seconds > grace {
                    let detail = format!(
                        "must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                    );
                    checks.invalid(at, &seconds.into(), &detail);
                }
            }
            _ => {}
        }
    }
    if count == 0 {
        checks.required(at, "must specify a handler type");
    }
}

fn http(action: &Value, at: At<'_>, checks: &mut Checks) {
    if text(action, "path").is_empty() {
        checks.required(at.field("path"), "");
    }
    checks.port_or_name(at.field("port"), of(action, "port"));
    checks.one_of(
        at.field("scheme"),
        text(action, "scheme"),
        &["HTTP", "HTTPS"],
    );
    for header in list(action, "httpHeaders") {
        let name = text(header, "name");
        checks.faults(at.field("httpHeaders"), name, names::http_header(name));
    }
}
