//! Owns acting by the name that the program is called by: one that is a known controller's is
//! `weir run` in that role, with the flags that its Deployments carry.

use std::ffi::OsString;
use std::path::Path;

use clap::ValueEnum as _;

use crate::controllers::Role;

/// Flags of those Deployments that say what Weir does anyway, or tell of what it does not have:
/// their values are dropped.
const DROPPED: [&str; 5] = [
    "--events-addr",
    "--watch-all-namespaces",
    "--log-level",
    "--log-encoding",
    "--mesh-provider",
];

/// The command line that is meant by these arguments.
pub(crate) fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut given = given.into_iter();
    let Some(called) = given.next() else {
        return Vec::new();
    };
    let name = Path::new(&called)
        .file_name()
        .and_then(|name| name.to_str());
    let role = name.and_then(|name| Role::from_str(name, false).ok());
    let Some(role) = role else {
        return std::iter::once(called).chain(given).collect();
    };
    let mut out = vec![called, "run".into(), "--roles".into(), role.name().into()];
    for argument in given {
        let Some(text) = argument.to_str() else {
            out.push(argument);
            continue;
        };
        // Go's own flag package takes one dash before a long name.
        let text = match text.strip_prefix('-') {
            Some(rest) if !rest.starts_with('-') && rest.len() > 1 => format!("--{rest}"),
            _ => text.to_owned(),
        };
        let flag = text.split('=').next().unwrap_or_default();
        if !DROPPED.contains(&flag) {
            out.push(text.into());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(line: &str) -> String {
        let words = arguments(line.split(' ').map(OsString::from));
        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        words.join(" ")
    }

    #[test]
    fn its_own_name_changes_nothing() {
        assert_eq!(
            meant("/usr/bin/weir get -A all"),
            "/usr/bin/weir get -A all"
        );
    }

    #[test]
    fn the_name_of_a_controller_is_its_role() {
        assert_eq!(
            meant(
                "/source-controller --events-addr=http://x --watch-all-namespaces=true \
                 --log-level=info --enable-leader-election --storage-path=/data"
            ),
            "/source-controller run --roles source-controller --enable-leader-election \
             --storage-path=/data"
        );
        assert_eq!(
            meant("flagger -metrics-server=http://p:9090 -mesh-provider=gatewayapi:v1 -v"),
            "flagger run --roles flagger --metrics-server=http://p:9090 -v"
        );
    }
}
