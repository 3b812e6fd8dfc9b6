//! Owns running commands against both servers and comparing what they print, line by line, less
//! ages, generated names, addresses and the widths of columns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use weir_sandbox::ApiPort;

use crate::compare::{Difference, differences};
use crate::fill::Values;
use crate::replay::Pair;
use crate::report::Report;
use crate::target::Target;

/// How long a condition on a command's output is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    files: BTreeMap<String, String>,
    commands: Vec<Line>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    run: String,
    /// Run it again until this is printed.
    until: Option<String>,
    /// The order of lines is of no meaning.
    #[serde(default)]
    sort: bool,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// Runs the script against ours alone, behind a port that keeps what is asked.
pub(crate) async fn record(
    server: &weir_apiserver::ApiServer,
    home: &Path,
    kubectl: &Path,
    space: &str,
) -> anyhow::Result<Vec<Value>> {
    let script = read(home)?;
    let lines = crate::record::Lines::default();
    let address = crate::record::port(server.clone(), lines.clone()).await?;
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: sandbox\nclusters:\n- name: sandbox\n  \
         cluster: {{server: 'http://{address}'}}\nusers: []\ncontexts:\n- name: sandbox\n  \
         context: {{cluster: sandbox, user: ''}}\n"
    );
    let dir = std::env::temp_dir().join(space);
    let shell = Shell::new(&dir, kubectl, &config, space, &script)?;
    for line in &script.commands {
        shell.run(line).await?;
    }
    // Left files are of no use to anyone.
    let _ = std::fs::remove_dir_all(&dir);
    let kept = lines
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(kept.clone())
}

fn read(home: &Path) -> anyhow::Result<Script> {
    let file = home.join("kubectl.yaml");
    let value = weir_yaml::from_str(&std::fs::read_to_string(&file)?)?;
    serde_path_to_error::deserialize(value).map_err(|e| anyhow!("{}: {e}", file.display()))
}

/// Runs the script against both.
pub(crate) async fn kubectl(
    pair: &Pair,
    home: &Path,
    kubectl: &Path,
    kubeconfig: &Path,
    only: Option<&str>,
    report: &Arc<Report>,
) -> anyhow::Result<()> {
    let script = read(home)?;
    let Target::Ours(server) = &pair.ours else {
        bail!("no server of ours");
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = ApiPort::serve(server.clone(), listener)?;
    let space = format!("{}-k", pair.prefix);
    let dir = std::env::temp_dir().join(&space);
    let real = std::fs::read_to_string(kubeconfig)?;
    let ours = Shell::new(
        &dir.join("ours"),
        kubectl,
        port.kubeconfig().expose(),
        &space,
        &script,
    )?;
    let real = Shell::new(&dir.join("real"), kubectl, &real, &space, &script)?;
    for (number, line) in script.commands.iter().enumerate() {
        let (a, b) = tokio::join!(ours.run(line), real.run(line));
        let (a, b) = (a?, b?);
        let case = format!("kubectl/{}", number + 1);
        let wanted = only.is_none_or(|o| line.run.contains(o) || case.ends_with(&format!("/{o}")));
        if wanted {
            report.case("kubectl", &case, &line.run, &by_line(&a, &b));
        }
    }
    // Left files are of no use to anyone.
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}

/// Differences with lines that are alike brought together.
fn by_line(ours: &Value, real: &Value) -> Vec<Difference> {
    let mut found = differences(ours, real);
    for part in ["out", "err"] {
        let place = format!("/{part}");
        if !found.iter().any(|d| d.place.starts_with(&place)) {
            continue;
        }
        found.retain(|d| !d.place.starts_with(&place));
        let lines = |value: &Value| -> Vec<String> {
            let lines = value.get(part).and_then(Value::as_array);
            let texts = lines.into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        let (a, b) = (lines(ours), lines(real));
        for change in similar::capture_diff_slices(similar::Algorithm::Myers, &a, &b) {
            let (old, new) = (change.old_range(), change.new_range());
            if change.tag() == similar::DiffTag::Equal {
                continue;
            }
            let cut = |lines: &[String], range: std::ops::Range<usize>| {
                lines.get(range).unwrap_or_default().join("\n")
            };
            let text = |text: String| (!text.is_empty()).then(|| Value::from(text));
            found.push(Difference {
                place: format!("{place}/{}", new.start),
                ours: text(cut(&a, old)),
                real: text(cut(&b, new)),
            });
        }
    }
    found
}

struct Shell {
    dir: PathBuf,
    path: String,
    values: Values,
}

impl Shell {
    fn new(
        dir: &Path,
        kubectl: &Path,
        kubeconfig: &str,
        space: &str,
        script: &Script,
    ) -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::create_dir_all(dir)?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
        std::fs::write(dir.join("kubeconfig"), kubeconfig)?;
        let mut values = Values::default();
        values.known.insert("ns".to_owned(), space.into());
        for (name, text) in &script.files {
            std::fs::write(dir.join(name), values.text(text))?;
        }
        let bin = kubectl.parent().context("kubectl has no folder")?;
        let bin = std::fs::canonicalize(bin)?;
        let path = std::env::var("PATH").unwrap_or_default();
        Ok(Self {
            dir: dir.to_owned(),
            path: format!("{}:{path}", bin.display()),
            values,
        })
    }

    async fn run(&self, line: &Line) -> anyhow::Result<Value> {
        let until = line.until.as_deref().map(Regex::new).transpose()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (code, out, err) = self.once(line).await?;
            let done = until.as_ref().is_none_or(|u| u.is_match(&out));
            if done || Instant::now() > deadline {
                let mut out = lines(&out);
                if line.sort {
                    out.sort();
                }
                return Ok(json!({"exit": code, "out": out, "err": lines(&err)}));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn once(&self, line: &Line) -> anyhow::Result<(Option<i32>, String, String)> {
        let output = Command::new("bash")
            .args(["-c", &self.values.text(&line.run)])
            .current_dir(&self.dir)
            .env("PATH", &self.path)
            .env("HOME", &self.dir)
            .env("KUBECONFIG", self.dir.join("kubeconfig"))
            .env("KUBECACHEDIR", self.dir.join("cache"))
            .envs(&line.env)
            .stdin(Stdio::null())
            .output()
            .await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        ))
    }
}

/// What is replaced by what, in order.
static MEANINGLESS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let patterns = [
        (r"https://127\.0\.0\.1:\d+", "https://ADDRESS"),
        (r"\x1b\[[0-9;]*m", ""),
        (r"/tmp/[A-Za-z-]+-\d+", "FILE"),
        (r#""resourceVersion":"\d+""#, "VERSION"),
        (r"Context .(sandbox|real). modified", "Context modified"),
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "UID",
        ),
        (
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d{4}|Z)?",
            "TIME",
        ),
        (
            r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
            "TIME",
        ),
        (r#"("?resourceVersion"?: )"\d+""#, "${1}VERSION"),
        (r"\b10\.96\.\d+\.\d+\b", "IP"),
        (r"kube-api-access-[a-z0-9]{5}", "kube-api-access-NAME"),
        (
            r"-[bcdf-hj-np-tv-xz24-9]{8,10}\b-[bcdf-hj-np-tv-xz24-9]{5}\b",
            "-HASH-NAME",
        ),
        (r"-[bcdf-hj-np-tv-xz24-9]{8,10}\b", "-HASH"),
        (
            r"pod-template-hash([=:] ?)[bcdf-hj-np-tv-xz24-9]{8,10}",
            "pod-template-hash${1}HASH",
        ),
        (r"(once|web|made)-[bcdf-hj-np-tv-xz24-9]{5}\b", "$1-NAME"),
        (r"\b\d+[smh](\d+[smh])?\b", "AGE"),
        (r"x\d+ over AGE", "xN over AGE"),
        (r"-{3,}", "---"),
        (r"[ \t]+", " "),
    ];
    #[expect(clippy::unwrap_used, reason = "the patterns are constants")]
    let compiled = patterns.map(|(p, to)| (Regex::new(p).unwrap(), to));
    compiled.into()
});

fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| {
            let mut line = line.to_owned();
            for (pattern, to) in MEANINGLESS.iter() {
                line = pattern.replace_all(&line, *to).into_owned();
            }
            line.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_generated_names_are_no_difference() {
        let said = lines("web-66945bdd44-x7k2p   0/1   Pending   0     3m12s\nother  5");
        assert_eq!(said, ["web-HASH-NAME 0/1 Pending 0 AGE", "other 5"]);
    }
}
