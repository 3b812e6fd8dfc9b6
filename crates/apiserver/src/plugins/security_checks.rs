//! Owns the checks of the Pod Security Standards, in the order and words of the API.

use serde_json::Value;
use weir_object::path;

/// How much is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

type Containers<'a> = Vec<(&'a str, &'a Value)>;

fn containers(spec: &Value) -> Containers<'_> {
    let mut out = Vec::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let all = spec.get(list).and_then(Value::as_array);
        out.extend(
            all.into_iter()
                .flatten()
                .map(|c| (path::text(c, &["name"]), c)),
        );
    }
    out
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|n| format!("\"{n}\"")).collect();
    names.join(", ")
}

/// `container "a"`, or `containers "a", "b"`.
fn named(what: &str, names: &[&str]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{what}{plural} {}", quoted(names))
}

fn of<'a>(container: &'a Value, field: &str) -> Option<&'a Value> {
    path::get(container, &["securityContext", field]).filter(|v| !v.is_null())
}

fn sorted(mut values: Vec<&str>) -> Vec<&str> {
    values.sort_unstable();
    values.dedup();
    values
}

/// What of a pod violates a level.
pub(super) fn violations(level: Level, meta: &Value, spec: &Value) -> Vec<String> {
    if level == Level::Privileged {
        return Vec::new();
    }
    let all = containers(spec);
    let restricted = level == Level::Restricted;
    let windows = path::text(spec, &["os", "name"]) == "windows";
    // What the lower level forbids is told first, each level in the order of its checks' names;
    // some checks of the higher level stand in the place of lower ones.
    let mut out = vec![apparmor(meta, spec, &all)];
    if !restricted {
        out.push(added(&all));
    }
    out.push(host_namespaces(spec));
    if !restricted {
        out.push(host_paths(spec));
    }
    out.extend([
        host_ports(&all),
        host_probes(&all),
        privileged(&all),
        proc_mount(&all),
        selinux(spec, &all),
    ]);
    if !restricted || windows {
        out.push(seccomp_baseline(spec, &all));
    }
    out.push(sysctls(spec));
    out.push(windows_host(spec, &all));
    if restricted {
        if !windows {
            out.push(escalation(&all));
            out.push(capabilities(&all));
        }
        out.push(volumes(spec));
        out.push(non_root(spec, &all));
        out.push(root_user(spec, &all));
        if !windows {
            out.push(seccomp(spec, &all));
        }
    }
    out.into_iter().flatten().collect()
}

fn bad<'a>(all: &Containers<'a>, mut test: impl FnMut(&Value) -> bool) -> Vec<&'a str> {
    all.iter()
        .filter(|(_, c)| test(c))
        .map(|(name, _)| *name)
        .collect()
}

fn escalation(all: &Containers<'_>) -> Option<String> {
    let names = bad(all, |c| {
        of(c, "allowPrivilegeEscalation") != Some(&Value::Bool(false))
    });
    (!names.is_empty()).then(|| {
        format!(
            "allowPrivilegeEscalation != false ({} must set securityContext.allowPrivilegeEscalation=false)",
            named("container", &names)
        )
    })
}

fn apparmor(meta: &Value, spec: &Value, all: &Containers<'_>) -> Option<String> {
    let allowed = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let mut setters = Vec::new();
    let mut values: Vec<String> = Vec::new();
    let kind = path::text(spec, &["securityContext", "appArmorProfile", "type"]);
    if !kind.is_empty() && !allowed(kind) {
        setters.push("pod".to_owned());
        values.push(format!("\"{kind}\""));
    }
    let names = bad(all, |c| {
        let kind = path::text(c, &["securityContext", "appArmorProfile", "type"]);
        let wrong = !kind.is_empty() && !allowed(kind);
        if wrong {
            values.push(format!("\"{kind}\""));
        }
        wrong
    });
    if !names.is_empty() {
        setters.push(named("container", &names));
    }
    let annotations = path::get(meta, &["annotations"]).and_then(Value::as_object);
    let mut keys = Vec::new();
    for (key, value) in annotations.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if key.starts_with("container.apparmor.security.beta.kubernetes.io/")
            && !(value.is_empty() || value == "runtime/default" || value.starts_with("localhost/"))
        {
            keys.push(format!("\"{key}=\"{value}\"\""));
        }
    }
    if !keys.is_empty() {
        let plural = if keys.len() == 1 {
            "annotation"
        } else {
            "annotations"
        };
        setters.push(plural.to_owned());
        values.extend(keys);
    }
    if setters.is_empty() {
        return None;
    }
    values.sort();
    values.dedup();
    let reason = if values.len() == 1 {
        "forbidden AppArmor profile"
    } else {
        "forbidden AppArmor profiles"
    };
    Some(format!(
        "{reason} ({} must not set AppArmor profile type to {})",
        setters.join(" and "),
        values.join(", ")
    ))
}

/// The capabilities that a runtime gives anyway.
const DEFAULT: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn added(all: &Containers<'_>) -> Option<String> {
    let mut found = Vec::new();
    let names = bad(all, |c| {
        let add =
            path::get(c, &["securityContext", "capabilities", "add"]).and_then(Value::as_array);
        add.into_iter()
            .flatten()
            .any(|c| !DEFAULT.contains(&c.as_str().unwrap_or_default()))
    });
    for (_, container) in all {
        let add = path::get(container, &["securityContext", "capabilities", "add"])
            .and_then(Value::as_array);
        let words = add.into_iter().flatten().filter_map(Value::as_str);
        found.extend(words.filter(|c| !DEFAULT.contains(c)));
    }
    (!names.is_empty()).then(|| {
        format!(
            "non-default capabilities ({} must not include {} in securityContext.capabilities.add)",
            named("container", &names),
            quoted(&sorted(found))
        )
    })
}

fn capabilities(all: &Containers<'_>) -> Option<String> {
    let words = |c: &'_ Value, which: &str| -> Vec<String> {
        let list =
            path::get(c, &["securityContext", "capabilities", which]).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let keeping = bad(all, |c| !words(c, "drop").iter().any(|w| w == "ALL"));
    let adding = bad(all, |c| {
        words(c, "add").iter().any(|w| w != "NET_BIND_SERVICE")
    });
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            named("container", &keeping)
        ));
    }
    if !adding.is_empty() {
        let found: Vec<String> = all.iter().flat_map(|(_, c)| words(c, "add")).collect();
        let found = found
            .iter()
            .map(String::as_str)
            .filter(|w| *w != "NET_BIND_SERVICE")
            .collect();
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            named("container", &adding),
            quoted(&sorted(found))
        ));
    }
    (!details.is_empty()).then(|| format!("unrestricted capabilities ({})", details.join("; ")))
}

fn host_namespaces(spec: &Value) -> Option<String> {
    let used: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| spec.get(**field) == Some(&Value::Bool(true)))
        .map(|field| format!("{field}=true"))
        .collect();
    (!used.is_empty()).then(|| format!("host namespaces ({})", used.join(", ")))
}

fn host_paths(spec: &Value) -> Option<String> {
    let volumes = spec.get("volumes").and_then(Value::as_array);
    let names: Vec<&str> = volumes
        .into_iter()
        .flatten()
        .filter(|v| v.get("hostPath").is_some_and(|h| !h.is_null()))
        .map(|v| path::text(v, &["name"]))
        .collect();
    (!names.is_empty()).then(|| format!("hostPath volumes ({})", named("volume", &names)))
}

fn host_ports(all: &Containers<'_>) -> Option<String> {
    let mut ports: Vec<String> = Vec::new();
    let names = bad(all, |c| {
        let list = c.get("ports").and_then(Value::as_array);
        let used = list
            .into_iter()
            .flatten()
            .filter_map(|p| p.get("hostPort")?.as_i64())
            .filter(|p| *p != 0);
        let before = ports.len();
        ports.extend(used.map(|p| p.to_string()));
        ports.len() > before
    });
    ports.sort();
    ports.dedup();
    (!names.is_empty()).then(|| {
        let uses = if names.len() == 1 { "uses" } else { "use" };
        let word = if ports.len() == 1 {
            "hostPort"
        } else {
            "hostPorts"
        };
        format!(
            "hostPort ({} {uses} {word} {})",
            named("container", &names),
            ports.join(", ")
        )
    })
}

fn host_probes(all: &Containers<'_>) -> Option<String> {
    let mut hosts = Vec::new();
    let names = bad(all, |c| {
        let mut found = false;
        for at in [
            &["livenessProbe"][..],
            &["readinessProbe"],
            &["startupProbe"],
            &["lifecycle", "postStart"],
            &["lifecycle", "preStop"],
        ] {
            for kind in ["httpGet", "tcpSocket"] {
                let host = path::text(c, &[at, &[kind, "host"]].concat()).to_owned();
                if !matches!(host.as_str(), "" | "127.0.0.1" | "::1") {
                    found = true;
                    hosts.push(host);
                }
            }
        }
        found
    });
    let hosts = sorted(hosts.iter().map(String::as_str).collect());
    (!names.is_empty()).then(|| {
        let uses = if names.len() == 1 { "uses" } else { "use" };
        let word = if hosts.len() == 1 {
            "probe or lifecycle host"
        } else {
            "probe or lifecycle hosts"
        };
        format!(
            "probe or lifecycle host ({} {uses} {word} {})",
            named("container", &names),
            quoted(&hosts)
        )
    })
}

fn privileged(all: &Containers<'_>) -> Option<String> {
    let names = bad(all, |c| of(c, "privileged") == Some(&Value::Bool(true)));
    (!names.is_empty()).then(|| {
        format!(
            "privileged ({} must not set securityContext.privileged=true)",
            named("container", &names)
        )
    })
}

fn proc_mount(all: &Containers<'_>) -> Option<String> {
    let mut values = Vec::new();
    let names = bad(all, |c| {
        let mount = of(c, "procMount")
            .and_then(Value::as_str)
            .unwrap_or("Default");
        if mount != "Default" {
            values.push(mount.to_owned());
        }
        mount != "Default"
    });
    (!names.is_empty()).then(|| {
        format!(
            "procMount ({} must not set securityContext.procMount to {})",
            named("container", &names),
            quoted(&sorted(values.iter().map(String::as_str).collect()))
        )
    })
}

const ALLOWED_VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
    "image",
];

fn volumes(spec: &Value) -> Option<String> {
    let (mut names, mut kinds) = (Vec::new(), Vec::new());
    let volumes = spec.get("volumes").and_then(Value::as_array);
    for volume in volumes.into_iter().flatten() {
        let sources = volume.as_object().into_iter().flatten();
        let source = sources
            .filter(|(key, value)| *key != "name" && !value.is_null())
            .map(|(key, _)| key.as_str())
            .next();
        match source {
            Some(kind) if ALLOWED_VOLUMES.contains(&kind) => {}
            kind => {
                names.push(path::text(volume, &["name"]));
                kinds.push(kind.unwrap_or("unknown"));
            }
        }
    }
    let kinds = sorted(kinds);
    (!names.is_empty()).then(|| {
        let uses = if names.len() == 1 { "uses" } else { "use" };
        let word = if kinds.len() == 1 {
            "restricted volume type"
        } else {
            "restricted volume types"
        };
        format!(
            "restricted volume types ({} {uses} {word} {})",
            named("volume", &names),
            quoted(&kinds)
        )
    })
}

fn non_root(spec: &Value, all: &Containers<'_>) -> Option<String> {
    let own = path::get(spec, &["securityContext", "runAsNonRoot"]).and_then(Value::as_bool);
    let mut setters = Vec::new();
    if own == Some(false) {
        setters.push("pod".to_owned());
    }
    let explicit = bad(all, |c| of(c, "runAsNonRoot") == Some(&Value::Bool(false)));
    if !explicit.is_empty() {
        setters.push(named("container", &explicit));
    }
    if !setters.is_empty() {
        return Some(format!(
            "runAsNonRoot != true ({} must not set securityContext.runAsNonRoot=false)",
            setters.join(" and ")
        ));
    }
    let silent = bad(all, |c| {
        own != Some(true) && of(c, "runAsNonRoot").is_none()
    });
    (!silent.is_empty()).then(|| {
        format!(
            "runAsNonRoot != true (pod or {} must set securityContext.runAsNonRoot=true)",
            named("container", &silent)
        )
    })
}

fn root_user(spec: &Value, all: &Containers<'_>) -> Option<String> {
    let mut setters = Vec::new();
    if path::get(spec, &["securityContext", "runAsUser"]).and_then(Value::as_i64) == Some(0) {
        setters.push("pod".to_owned());
    }
    let names = bad(all, |c| {
        of(c, "runAsUser").and_then(Value::as_i64) == Some(0)
    });
    if !names.is_empty() {
        setters.push(named("container", &names));
    }
    (!setters.is_empty()).then(|| {
        format!(
            "runAsUser=0 ({} must not set runAsUser=0)",
            setters.join(" and ")
        )
    })
}

fn selinux(spec: &Value, all: &Containers<'_>) -> Option<String> {
    const TYPES: [&str; 5] = [
        "",
        "container_t",
        "container_init_t",
        "container_kvm_t",
        "container_engine_t",
    ];
    let (mut types, mut users, mut roles) = (Vec::new(), false, false);
    let mut test = |owner: &Value| {
        let text = |field: &str| {
            path::text(owner, &["securityContext", "seLinuxOptions", field]).to_owned()
        };
        let kind = text("type");
        let mut wrong = false;
        if !TYPES.contains(&kind.as_str()) {
            types.push(kind);
            wrong = true;
        }
        users |= !text("user").is_empty();
        roles |= !text("role").is_empty();
        wrong || !text("user").is_empty() || !text("role").is_empty()
    };
    let mut setters = Vec::new();
    if test(spec) {
        setters.push("pod".to_owned());
    }
    let names = bad(all, &mut test);
    if !names.is_empty() {
        setters.push(named("container", &names));
    }
    if setters.is_empty() {
        return None;
    }
    let mut data = Vec::new();
    if !types.is_empty() {
        let types = sorted(types.iter().map(String::as_str).collect());
        let word = if types.len() == 1 { "type" } else { "types" };
        data.push(format!("{word} {}", quoted(&types)));
    }
    if users {
        data.push("user may not be set".to_owned());
    }
    if roles {
        data.push("role may not be set".to_owned());
    }
    Some(format!(
        "seLinuxOptions ({} set forbidden securityContext.seLinuxOptions: {})",
        setters.join(" and "),
        data.join("; ")
    ))
}

fn seccomp_baseline(spec: &Value, all: &Containers<'_>) -> Option<String> {
    let kind = |owner: &Value| {
        path::text(owner, &["securityContext", "seccompProfile", "type"]).to_owned()
    };
    let good = |kind: &str| matches!(kind, "" | "RuntimeDefault" | "Localhost");
    forbidden_seccomp(spec, all, kind, good)
}

fn forbidden_seccomp(
    spec: &Value,
    all: &Containers<'_>,
    kind: impl Fn(&Value) -> String,
    good: impl Fn(&str) -> bool,
) -> Option<String> {
    let (mut setters, mut values) = (Vec::new(), Vec::new());
    if !good(&kind(spec)) {
        setters.push("pod".to_owned());
        values.push(kind(spec));
    }
    let names = bad(all, |c| {
        let own = kind(c);
        let wrong = !good(&own);
        if wrong {
            values.push(own);
        }
        wrong
    });
    if !names.is_empty() {
        setters.push(named("container", &names));
    }
    (!setters.is_empty()).then(|| {
        format!(
            "seccompProfile ({} must not set securityContext.seccompProfile.type to {})",
            setters.join(" and "),
            quoted(&sorted(values.iter().map(String::as_str).collect()))
        )
    })
}

fn seccomp(spec: &Value, all: &Containers<'_>) -> Option<String> {
    let kind = |owner: &Value| {
        path::text(owner, &["securityContext", "seccompProfile", "type"]).to_owned()
    };
    let good = |kind: &str| matches!(kind, "" | "RuntimeDefault" | "Localhost");
    if let Some(forbidden) = forbidden_seccomp(spec, all, kind, good) {
        return Some(forbidden);
    }
    let set = !kind(spec).is_empty();
    let silent = bad(all, |c| !set && kind(c).is_empty());
    (!silent.is_empty()).then(|| {
        format!(
            "seccompProfile (pod or {} must set securityContext.seccompProfile.type to \
             \"RuntimeDefault\" or \"Localhost\")",
            named("container", &silent)
        )
    })
}

const SAFE_SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
];

fn sysctls(spec: &Value) -> Option<String> {
    let all = path::get(spec, &["securityContext", "sysctls"]).and_then(Value::as_array);
    let found: Vec<&str> = all
        .into_iter()
        .flatten()
        .map(|s| path::text(s, &["name"]))
        .filter(|name| {
            !SAFE_SYSCTLS.contains(name)
                && !matches!(*name, "net.ipv4.tcp_rmem" | "net.ipv4.tcp_wmem")
        })
        .collect();
    (!found.is_empty()).then(|| format!("forbidden sysctls ({})", found.join(", ")))
}

fn windows_host(spec: &Value, all: &Containers<'_>) -> Option<String> {
    let host = |owner: &Value| {
        path::get(owner, &["securityContext", "windowsOptions", "hostProcess"])
            == Some(&Value::Bool(true))
    };
    let mut setters = Vec::new();
    if host(spec) {
        setters.push("pod".to_owned());
    }
    let names = bad(all, host);
    if !names.is_empty() {
        setters.push(named("container", &names));
    }
    (!setters.is_empty()).then(|| {
        format!(
            "hostProcess ({} must not set securityContext.windowsOptions.hostProcess=true)",
            setters.join(" and ")
        )
    })
}
