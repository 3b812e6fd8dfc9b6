//! Owns what a hook's metadata asks for: a task, from its type and its command, or why it is none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderName, Method};
use url::{Host, Url};

use crate::command::{BadCommand, words};
use crate::generate::Plan;

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Traffic, made here.
    Traffic(Box<Plan>),
    /// A program.
    Program {
        /// Its words.
        words: Vec<String>,
        /// Whether the caller waits for its end.
        waited_for: bool,
        /// Whether what it printed is the answer.
        answers: bool,
    },
}

/// Which programs may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// These, without a shell.
    pub allowed: BTreeSet<String>,
    /// Anything, in a shell: whoever reaches the tester can do whatever it can.
    pub shell: bool,
}

/// Why there is no task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTask {
    /// The type is not known.
    #[error("type `{0}` is not known: it is one of http, cmd, bash, helm, helmv3, kubectl")]
    Type(String),
    /// The command is missing.
    #[error("metadata has no `{0}`")]
    Missing(&'static str),
    /// The command can't be read.
    #[error("the command can't be read: {0}")]
    Command(#[from] BadCommand),
    /// The program may not run.
    #[error(
        "`{0}` may not be run here: `weir loadtest --allow-command {0}` allows it; for traffic use \
         type `http` or a command of `hey`, which run nothing"
    )]
    Program(String),
    /// A flag of `hey` that is not understood.
    #[error(
        "the flag `{0}` is not understood: -z, -n, -q, -c, -m, -H, -d, -t, -host and the URL are"
    )]
    Flag(String),
    /// A value can't be read.
    #[error("`{value}` of {field} can't be read: {why}")]
    Value {
        /// Which value.
        field: String,
        /// What it is.
        value: String,
        /// Why.
        why: String,
    },
    /// The address may not be asked.
    #[error("`{0}` may not be asked: it is an address of the machine or the cloud, not a service")]
    Address(String),
}

const TIMEOUT: Duration = Duration::from_secs(20);

impl Task {
    /// The task that metadata asks for.
    pub fn read(metadata: &BTreeMap<String, String>, programs: &Programs) -> Result<Self, BadTask> {
        let text = |key: &str| {
            metadata
                .get(key)
                .map(|v| v.trim())
                .filter(|v| !v.is_empty())
        };
        let kind = text("type").unwrap_or("cmd");
        let answers = text("returnCmdOutput") == Some("true");
        match kind {
            "http" => {
                let mut plan = plan(text("url").ok_or(BadTask::Missing("url"))?)?;
                for (flag, key) in [
                    ("-z", "duration"),
                    ("-q", "rate"),
                    ("-c", "concurrency"),
                    ("-n", "requests"),
                    ("-m", "method"),
                    ("-host", "host"),
                    ("-d", "body"),
                ] {
                    if let Some(value) = text(key) {
                        set(&mut plan, flag, value)?;
                    }
                }
                Ok(Self::Traffic(Box::new(plan)))
            }
            "cmd" | "bash" => {
                let line = text("cmd").ok_or(BadTask::Missing("cmd"))?;
                if kind == "cmd"
                    && let Some(plan) = hey(line)?
                {
                    return Ok(Self::Traffic(Box::new(plan)));
                }
                let words = if programs.shell {
                    let shell = if kind == "bash" { "bash" } else { "sh" };
                    [shell, "-c", line].map(str::to_owned).to_vec()
                } else {
                    allowed(words(line)?, programs)?
                };
                Ok(Self::Program {
                    words,
                    waited_for: kind == "bash",
                    answers,
                })
            }
            "helm" | "helmv3" | "kubectl" => {
                let line = text("cmd").ok_or(BadTask::Missing("cmd"))?;
                let program = if kind == "kubectl" { "kubectl" } else { "helm" };
                let mut all = vec![program.to_owned()];
                all.extend(words(line)?);
                Ok(Self::Program {
                    words: if programs.shell {
                        all
                    } else {
                        allowed(all, programs)?
                    },
                    waited_for: true,
                    answers,
                })
            }
            other => Err(BadTask::Type(other.chars().take(64).collect())),
        }
    }
}

fn allowed(words: Vec<String>, programs: &Programs) -> Result<Vec<String>, BadTask> {
    match words.first() {
        Some(program) if programs.allowed.contains(program) => Ok(words),
        program => Err(BadTask::Program(program.cloned().unwrap_or_default())),
    }
}

/// The traffic that a command of `hey` asks for; `None` for another command.
fn hey(line: &str) -> Result<Option<Plan>, BadTask> {
    if line.split_whitespace().next() != Some("hey") {
        return Ok(None);
    }
    let all = words(line)?;
    let mut all = all.iter().skip(1);
    let (mut flags, mut url) = (Vec::new(), None);
    while let Some(word) = all.next() {
        match word.as_str() {
            // Every request is one of its own as far as a Canary can tell.
            "-disable-keepalive" | "-disable-compression" => {}
            "-z" | "-n" | "-q" | "-c" | "-m" | "-H" | "-d" | "-t" | "-host" => {
                let value = all.next().ok_or_else(|| BadTask::Flag(word.clone()))?;
                flags.push((word.as_str(), value.as_str()));
            }
            flag if flag.starts_with('-') => return Err(BadTask::Flag(flag.to_owned())),
            address => url = Some(address),
        }
    }
    let mut plan = plan(url.ok_or(BadTask::Missing("URL in `cmd`"))?)?;
    // As hey has it: 200 requests where no time is given, 50 at once.
    plan.at_once = 50;
    plan.per_second = 50;
    if !flags.iter().any(|(flag, _)| *flag == "-z") {
        plan.requests = Some(200);
        plan.duration = Duration::from_hours(1);
    }
    let mut rate = None;
    for (flag, value) in flags {
        if flag == "-q" {
            rate = Some(number("-q", value)?);
        } else {
            set(&mut plan, flag, value)?;
        }
    }
    if let Some(rate) = rate {
        // Its rate is that of each worker.
        let workers = u64::try_from(plan.at_once).unwrap_or(u64::MAX);
        let all = rate.saturating_mul(workers).min(MOST_RATE);
        plan.per_second = u32::try_from(all).unwrap_or(u32::MAX);
    }
    Ok(Some(plan))
}

/// The most requests a second, and at once.
const MOST_RATE: u64 = 10_000;
const MOST_AT_ONCE: u64 = 1_000;

fn plan(address: &str) -> Result<Plan, BadTask> {
    let bad = |why: String| BadTask::Value {
        field: "the URL".to_owned(),
        value: address.to_owned(),
        why,
    };
    let url = Url::parse(address).map_err(|e| bad(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(
            "it begins neither with http:// nor with https://".to_owned()
        ));
    }
    if let Some(host) = forbidden(&url) {
        return Err(BadTask::Address(host));
    }
    Ok(Plan {
        url,
        method: Method::GET,
        headers: Vec::new(),
        body: String::new(),
        per_second: 10,
        at_once: 10,
        duration: Duration::from_mins(1),
        requests: None,
        timeout: TIMEOUT,
    })
}

fn set(plan: &mut Plan, flag: &str, value: &str) -> Result<(), BadTask> {
    let bad = |why: String| BadTask::Value {
        field: flag.to_owned(),
        value: value.to_owned(),
        why,
    };
    match flag {
        "-z" => {
            let duration = weir_gocompat::parse_duration(value).map_err(|e| bad(e.to_string()))?;
            plan.duration = duration;
        }
        "-n" => plan.requests = Some(number(flag, value)?),
        "-q" => {
            let rate = number(flag, value)?.clamp(1, MOST_RATE);
            plan.per_second = u32::try_from(rate).unwrap_or(u32::MAX);
        }
        "-c" => {
            let most = number(flag, value)?.clamp(1, MOST_AT_ONCE);
            plan.at_once = usize::try_from(most).unwrap_or(usize::MAX);
        }
        "-t" => plan.timeout = Duration::from_secs(number(flag, value)?.clamp(1, 3600)),
        "-m" => {
            plan.method = value
                .parse()
                .map_err(|_| bad("it is no method".to_owned()))?;
        }
        "-d" => value.clone_into(&mut plan.body),
        "-host" => plan.headers.push((http::header::HOST, value.to_owned())),
        "-H" => {
            let (name, value) = value
                .split_once(':')
                .ok_or_else(|| bad("it has no colon".to_owned()))?;
            let name: HeaderName =
                (name.trim().parse()).map_err(|_| bad("it is no name".into()))?;
            plan.headers.push((name, value.trim().to_owned()));
        }
        other => return Err(BadTask::Flag(other.to_owned())),
    }
    Ok(())
}

fn number(flag: &str, value: &str) -> Result<u64, BadTask> {
    value.parse().map_err(|_| BadTask::Value {
        field: flag.to_owned(),
        value: value.to_owned(),
        why: "it is no whole number".to_owned(),
    })
}

/// The host, where it is one that hands out the machine's credentials and not a service.
fn forbidden(url: &Url) -> Option<String> {
    let local = match url.host()? {
        Host::Ipv4(ip) => ip.is_link_local() || ip.is_unspecified(),
        Host::Ipv6(ip) => {
            let mapped = ip.to_ipv4_mapped().map(IpAddr::V4);
            let link_local =
                (ip.segments().first().copied().unwrap_or_default() & 0xffc0) == 0xfe80;
            link_local
                || ip.is_unspecified()
                || matches!(mapped, Some(IpAddr::V4(ip)) if ip.is_link_local())
        }
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "metadata.google.internal" || name == "metadata"
        }
    };
    local.then(|| url.host_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Task, BadTask> {
        let programs = Programs {
            allowed: ["ghz".to_owned()].into(),
            shell: false,
        };
        let metadata = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Task::read(&metadata.collect(), &programs)
    }

    fn traffic(pairs: &[(&str, &str)]) -> Plan {
        match read(pairs) {
            Ok(Task::Traffic(plan)) => *plan,
            other => panic!("no traffic: {other:?}"),
        }
    }

    #[test]
    fn the_usual_command_lines_are_traffic_that_is_made_here() {
        let cmd = "hey -z 1m -q 10 -c 2 -host app.example.com -H 'x-user: insider' -m POST \
                   -d '{\"a\": 1}' http://app-canary.demo:9898/";
        let plan = traffic(&[("type", "cmd"), ("cmd", cmd)]);
        assert_eq!(
            (plan.per_second, plan.at_once, plan.duration, plan.requests),
            (20, 2, Duration::from_mins(1), None)
        );
        assert_eq!(plan.method, Method::POST);
        assert_eq!(plan.body, "{\"a\": 1}");
        assert_eq!(
            plan.headers,
            [
                (http::header::HOST, "app.example.com".to_owned()),
                (HeaderName::from_static("x-user"), "insider".to_owned())
            ]
        );
        let plan = traffic(&[("cmd", "hey http://a/")]);
        assert_eq!((plan.requests, plan.at_once), (Some(200), 50));
        let plan = traffic(&[("type", "http"), ("url", "http://a/"), ("rate", "7")]);
        assert_eq!(
            (plan.per_second, plan.duration),
            (7, Duration::from_mins(1))
        );
    }

    #[test]
    fn what_is_not_understood_or_not_allowed_says_so() {
        for (pairs, says) in [
            (&[("type", "nonsense")][..], "type `nonsense` is not known"),
            (&[("type", "cmd")], "metadata has no `cmd`"),
            (
                &[("cmd", "hey -x http://a/")],
                "the flag `-x` is not understood",
            ),
            (
                &[("cmd", "hey -z soon http://a/")],
                "`soon` of -z can't be read",
            ),
            (
                &[("cmd", "hey http://169.254.169.254/")],
                "may not be asked",
            ),
            (&[("cmd", "curl http://a/")], "`curl` may not be run here"),
            (
                &[("type", "bash"), ("cmd", "rm -rf /")],
                "`rm` may not be run here",
            ),
            (&[("cmd", "ghz a | sh")], "asks for a shell"),
            (
                &[("type", "http"), ("url", "ftp://a/")],
                "neither with http://",
            ),
        ] {
            let found = read(pairs).expect_err(says).to_string();
            assert!(found.contains(says), "{found}");
        }
        assert_eq!(
            read(&[("cmd", "ghz --insecure app:9898")]),
            Ok(Task::Program {
                words: ["ghz", "--insecure", "app:9898"]
                    .map(str::to_owned)
                    .to_vec(),
                waited_for: false,
                answers: false,
            })
        );
    }
}
