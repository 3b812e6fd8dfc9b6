//! Owns the rules of security contexts.

use serde_json::{Map, Value, json};

use crate::builtin::checks::{At, Checks, flag, int, list, of, text};

const ID: &str = "must be between 0 and 2147483647, inclusive";

fn id(value: &Value, field: &str, at: At<'_>, checks: &mut Checks) {
    if let Some(number) = int(value, field).filter(|n| !(0..=i64::from(i32::MAX)).contains(n)) {
        checks.invalid(at.field(field), &number.into(), ID);
    }
}

/// The context of a pod.
pub(super) fn check_pod(spec: &Value, at: At<'_>, checks: &mut Checks) {
    let context = of(spec, "securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(context, field, at, checks);
    }
    for (i, group) in list(context, "supplementalGroups").iter().enumerate() {
        if group
            .as_i64()
            .is_some_and(|n| !(0..=i64::from(i32::MAX)).contains(&n))
        {
            checks.invalid(at.field("supplementalGroups").index(i), group, ID);
        }
    }
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        checks.invalid(at.field("shareProcessNamespace"), &true.into(), detail);
    }
    sysctls(context, at.field("sysctls"), checks);
    let policy = text(context, "fsGroupChangePolicy");
    checks.one_of_if(
        at.field("fsGroupChangePolicy"),
        policy,
        &["Always", "OnRootMismatch"],
    );
    profile(
        of(context, "seccompProfile"),
        at.field("seccompProfile"),
        checks,
    );
    let policy = text(context, "supplementalGroupsPolicy");
    checks.one_of_if(
        at.field("supplementalGroupsPolicy"),
        policy,
        &["Merge", "Strict"],
    );
}

fn sysctls(context: &Value, at: At<'_>, checks: &mut Checks) {
    let mut seen = Vec::new();
    for (i, setting) in list(context, "sysctls").iter().enumerate() {
        let at = at.index(i);
        let name = text(setting, "name");
        let part = |part: &str| {
            let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(edge)
                && part.ends_with(edge)
                && part.chars().all(|c| edge(c) || matches!(c, '-' | '_'))
        };
        if name.is_empty() {
            checks.required(at.field("name"), "");
        } else if name.len() > 253 || !name.split(['.', '/']).all(part) {
            let detail = "must have at most 253 characters and match regex \
                ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            checks.wrong(at.field("name"), name, detail);
        } else if seen.contains(&name) {
            checks.duplicate(at.field("name"), &name.into());
        }
        seen.push(name);
    }
}

fn profile(profile: &Value, at: At<'_>, checks: &mut Checks) {
    if profile.is_null() {
        return;
    }
    let (kind, path) = (text(profile, "type"), of(profile, "localhostProfile"));
    match kind {
        "" => {
            checks.required(
                at.field("type"),
                "type is required when seccompProfile is set",
            );
            return;
        }
        "Localhost" if path.is_null() => {
            let detail = "must be set when seccomp type is Localhost";
            checks.required(at.field("localhostProfile"), detail);
        }
        "Localhost" => {}
        _ if !path.is_null() => {
            let detail = "can only be set when seccomp type is Localhost";
            let shown = json!({"Type": kind, "LocalhostProfile": path});
            checks.invalid(at.field("localhostProfile"), &shown, detail);
        }
        _ => {}
    }
    checks.one_of(
        at.field("type"),
        kind,
        &["Localhost", "RuntimeDefault", "Unconfined"],
    );
}

/// The context of a container.
pub(super) fn check_container(context: &Value, at: At<'_>, checks: &mut Checks) {
    if context.is_null() {
        return;
    }
    id(context, "runAsUser", at, checks);
    id(context, "runAsGroup", at, checks);
    let mount = text(context, "procMount");
    checks.one_of_if(at.field("procMount"), mount, &["Default", "Unmasked"]);
    profile(
        of(context, "seccompProfile"),
        at.field("seccompProfile"),
        checks,
    );
    if of(context, "allowPrivilegeEscalation") == &Value::Bool(false) {
        if flag(context, "privileged") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            checks.invalid(at, &inner_security(context), detail);
        }
        let added = list(of(context, "capabilities"), "add");
        if added.iter().any(|c| c == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            checks.invalid(at, &inner_security(context), detail);
        }
    }
}

/// A security context as refusals show it: in the server's own form.
pub(crate) fn inner_security(context: &Value) -> Value {
    let mut out = Map::new();
    for (name, field) in [
        ("Capabilities", "capabilities"),
        ("Privileged", "privileged"),
        ("SELinuxOptions", "seLinuxOptions"),
        ("WindowsOptions", "windowsOptions"),
        ("RunAsUser", "runAsUser"),
        ("RunAsGroup", "runAsGroup"),
        ("RunAsNonRoot", "runAsNonRoot"),
        ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem"),
        ("AllowPrivilegeEscalation", "allowPrivilegeEscalation"),
        ("ProcMount", "procMount"),
        ("SeccompProfile", "seccompProfile"),
        ("AppArmorProfile", "appArmorProfile"),
    ] {
        let value = match (field, of(context, field)) {
            ("capabilities", of_what) if !of_what.is_null() => {
                json!({"Add": of(of_what, "add"), "Drop": of(of_what, "drop")})
            }
            ("seccompProfile", of_what) if !of_what.is_null() => {
                json!({"Type": of(of_what, "type"), "LocalhostProfile": of(of_what, "localhostProfile")})
            }
            (_, of_what) => of_what.clone(),
        };
        out.insert(name.to_owned(), value);
    }
    out.into()
}
