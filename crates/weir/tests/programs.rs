//! The program as its users run it: the demo as one JSON object, and kubectl against the sandbox.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// A running `weir sandbox`, ended when dropped.
struct Sandbox {
    process: Child,
    kubeconfig: PathBuf,
}

impl Sandbox {
    fn start() -> Self {
        let mut process = Command::new(WEIR)
            .args(["sandbox", "--quiet", "--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("weir starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        Self {
            process,
            kubeconfig: line.trim().into(),
        }
    }

    fn kubectl(&self, args: &[&str], input: &str) -> Output {
        use std::io::Write as _;
        let mut child = Command::new("kubectl")
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.kubeconfig.parent().expect("a directory"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("its input");
        stdin.write_all(input.as_bytes()).expect("written");
        drop(stdin);
        child.wait_with_output().expect("kubectl ends")
    }

    /// Runs kubectl, expects success, and returns what it printed.
    fn good(&self, args: &[&str], input: &str) -> String {
        let output = self.kubectl(args, input);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "kubectl {args:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Runs kubectl, expects failure, and returns what it complained.
    fn bad(&self, args: &[&str], input: &str) -> String {
        let output = self.kubectl(args, input);
        assert!(!output.status.success(), "kubectl {args:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        // The test is over; what can't be ended by a signal is killed.
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        if self.process.wait().is_err() {
            let _ = self.process.kill();
        }
    }
}

fn kubectl_is_there() -> bool {
    let found = Command::new("kubectl")
        .args(["version", "--client"])
        .output();
    let there = found.is_ok_and(|o| o.status.success());
    if !there {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: kubectl is not installed");
    }
    there
}

const DEPLOYMENT: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.com/web:1}]}
";

#[test]
fn kubectl_works_against_the_sandbox() {
    if !kubectl_is_there() {
        return;
    }
    let sandbox = Sandbox::start();
    let namespaces = sandbox.good(&["get", "namespaces"], "");
    assert!(
        namespaces.starts_with("NAME") && namespaces.contains("kube-system"),
        "{namespaces}"
    );

    // apply, twice; then what was applied runs
    let applied = sandbox.good(&["apply", "-f", "-"], DEPLOYMENT);
    assert_eq!(applied, "deployment.apps/web created\n");
    assert_eq!(
        sandbox.good(&["apply", "-f", "-"], DEPLOYMENT),
        "deployment.apps/web unchanged\n"
    );
    sandbox.good(
        &[
            "wait",
            "deployment/web",
            "--for=condition=Available",
            "--timeout=30s",
        ],
        "",
    );
    let row = sandbox.good(&["get", "deployment", "web", "--no-headers"], "");
    assert!(row.starts_with("web") && row.contains("2/2"), "{row}");
    let changed = DEPLOYMENT.replace("replicas: 2", "replicas: 3");
    assert_eq!(
        sandbox.good(&["apply", "-f", "-"], &changed),
        "deployment.apps/web configured\n"
    );

    // server-side apply: another manager's field is a conflict, unless forced
    let own = DEPLOYMENT.replace("replicas: 2", "replicas: 5");
    let apply = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
    let conflict = sandbox.bad(&apply, &own);
    assert!(
        conflict.contains("conflict") && conflict.contains(".spec.replicas"),
        "{conflict}"
    );
    let forced = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=other",
        "-f",
        "-",
    ];
    assert_eq!(
        sandbox.good(&forced, &own),
        "deployment.apps/web serverside-applied\n"
    );
    let replicas = [
        "get",
        "deployment",
        "web",
        "-o",
        "jsonpath={.spec.replicas}",
    ];
    assert_eq!(sandbox.good(&replicas, ""), "5");

    // every patch type
    for (kind, patch, expected) in [
        ("merge", r#"{"spec":{"replicas":1}}"#, "1"),
        (
            "json",
            r#"[{"op":"replace","path":"/spec/replicas","value":4}]"#,
            "4",
        ),
        ("strategic", r#"{"spec":{"replicas":2}}"#, "2"),
    ] {
        sandbox.good(
            &["patch", "deployment", "web", "--type", kind, "-p", patch],
            "",
        );
        assert_eq!(sandbox.good(&replicas, ""), expected, "{kind}");
    }

    // what is wrong is refused with the field's name
    let wrong = DEPLOYMENT.replace("replicas: 2", "replicas: many");
    let refused = sandbox.bad(&["apply", "--validate=false", "-f", "-"], &wrong);
    assert!(refused.contains("replicas"), "{refused}");

    // custom kinds: defaults, columns, validation
    let canary = include_str!("../../../examples/canary/weighted/app/canary.yaml");
    sandbox.good(&["apply", "-f", "-"], canary);
    let columns = sandbox.good(&["get", "canary"], "");
    assert!(
        columns.starts_with("NAME") && columns.contains("STATUS") && columns.contains("WEIGHT"),
        "{columns}"
    );
    let wrong = canary.replace("threshold: 2", "threshold: many");
    let refused = sandbox.bad(&["apply", "--validate=false", "-f", "-"], &wrong);
    assert!(refused.contains("spec.analysis.threshold"), "{refused}");

    // deletion takes what is owned
    sandbox.good(
        &[
            "delete",
            "deployment",
            "web",
            "--cascade=foreground",
            "--timeout=30s",
        ],
        "",
    );
    sandbox.good(
        &[
            "wait",
            "pods",
            "-l",
            "app=web",
            "--for=delete",
            "--timeout=30s",
        ],
        "",
    );
    let missing = sandbox.bad(&["get", "deployment", "web"], "");
    assert!(missing.contains("NotFound"), "{missing}");
}

#[test]
fn the_demo_ends_well_and_says_so_in_json() {
    let output = Command::new(WEIR)
        .args(["demo", "--exit", "--output", "json"])
        .output()
        .expect("weir starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let story: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(
        story["promoted"]["weights"],
        serde_json::json!([20, 40, 60]),
        "{story}"
    );
    let weights = story["rolledBack"]["weights"].as_array().expect("weights");
    assert!(
        weights.first().is_some_and(|w| *w == 20) && weights.len() == 1,
        "{story}"
    );
    let reason = story["rolledBack"]["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("success rate") || reason.contains("error-share"),
        "{story}"
    );
    assert_eq!(
        story["commits"].as_array().map(Vec::len),
        Some(2),
        "{story}"
    );
    for run in ["promoted", "rolledBack"] {
        let revision = story[run]["revision"].as_str().expect("a revision");
        assert!(revision.starts_with("main@sha1:"), "{story}");
    }
    let count = |k: &str| story["requests"][k].as_u64().expect("a number");
    assert!(
        count("total") > 0 && count("failed") * 5 <= count("total"),
        "{story}"
    );
}

#[test]
fn completion_and_reference_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(WEIR)
            .args(["completion", shell])
            .output()
            .expect("weir starts");
        assert!(
            output.status.success() && output.stdout.len() > 500,
            "{shell}"
        );
    }
    let unknown = Command::new(WEIR)
        .arg("deploy")
        .output()
        .expect("weir starts");
    assert_eq!(unknown.status.code(), Some(2));
    let nowhere = Command::new(WEIR)
        .args(["get", "--kubeconfig", "/nonexistent/kubeconfig"])
        .output()
        .expect("weir starts");
    let told = String::from_utf8_lossy(&nowhere.stderr);
    assert!(
        nowhere.status.code() == Some(1) && told.contains("/nonexistent/kubeconfig"),
        "{told}"
    );
}

const DEFINITION: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wg]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            description: What is wanted.
            type: object
            required: [text]
            properties:
              text: {type: string, enum: [a, b], description: Some text.}
              size: {type: integer}
";

#[test]
fn kubectl_explains_what_is_served_and_creates_by_its_own_types() {
    if !kubectl_is_there() {
        return;
    }
    let sandbox = Sandbox::start();
    let good = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        sandbox.good(&args, "")
    };
    assert_eq!(
        good("explain deployment.spec.strategy.rollingUpdate.maxSurge")
            .lines()
            .take(10)
            .collect::<Vec<_>>(),
        [
            "GROUP:      apps",
            "KIND:       Deployment",
            "VERSION:    v1",
            "",
            "FIELD: maxSurge <IntOrString>",
            "",
            "",
            "DESCRIPTION:",
            "    The maximum number of pods that can be scheduled above the desired number of",
            "    pods. Value can be an absolute number (ex: 5) or a percentage of desired",
        ]
    );
    sandbox.good(&["apply", "-f", "-"], DEFINITION);
    let words = good("explain widgets.spec");
    assert!(
        words.ends_with(
            "FIELD: spec <Object>\n\n\nDESCRIPTION:\n    What is wanted.\n    \nFIELDS:\n  \
         size\t<integer>\n    <no description>\n\n  text\t<string> -required-\n  enum: a, b\n    \
         Some text.\n\n\n"
        ),
        "{words}"
    );
    let resources = good("api-resources --api-group=example.com --no-headers");
    let row: Vec<&str> = resources.split_whitespace().collect();
    assert_eq!(row, ["widgets", "wg", "example.com/v1", "true", "Widget"]);
    let older = good("explain widgets.spec --output plaintext-openapiv2");
    assert!(older.contains("text\t<string> -required-"), "{older}");

    // These are sent in protocol buffers.
    for (line, made) in [
        ("create namespace team", "namespace/team created\n"),
        (
            "create configmap c --from-literal=a=b",
            "configmap/c created\n",
        ),
        (
            "create secret generic s --from-literal=a=b",
            "secret/s created\n",
        ),
        (
            "create deployment d --image=example.com/d:1 --replicas=0",
            "deployment.apps/d created\n",
        ),
        (
            "create job j --image=example.com/j:1",
            "job.batch/j created\n",
        ),
        (
            "create role r --verb=get --resource=pods",
            "role.rbac.authorization.k8s.io/r created\n",
        ),
        (
            "autoscale deployment d --max=3",
            "horizontalpodautoscaler.autoscaling/d autoscaled\n",
        ),
        ("run p --image=example.com/p:1", "pod/p created\n"),
    ] {
        assert_eq!(good(line), made);
    }
    assert_eq!(good("get configmap c -o jsonpath={.data.a}"), "b");
    let row = good("get hpa d --no-headers");
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        row[..6],
        ["d", "Deployment/d", "cpu:", "<unknown>/80%", "1", "3"]
    );

    good("wait pod/p --for=condition=Ready --timeout=30s");
    assert_eq!(good("logs p"), "");
    let refused = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        sandbox.bad(&args, "")
    };
    let lost = refused("logs p -c other");
    assert!(
        lost.contains("container other is not valid for pod p"),
        "{lost}"
    );
    let shell = refused("exec p -- ls");
    assert!(shell.contains("processes of this machine"), "{shell}");
    let top = refused("top pods");
    assert!(top.contains("Metrics API not available"), "{top}");
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Asks a health endpoint until it answers 200; fails after a minute.
fn until_ready(port: u16) {
    use std::io::{Read as _, Write as _};
    let start = std::time::Instant::now();
    let mut last = String::new();
    while start.elapsed().as_secs() < 60 {
        if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
            let request = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).expect("sent");
            last.clear();
            stream.read_to_string(&mut last).expect("an answer");
            if last.starts_with("HTTP/1.1 200") {
                return;
            }
        }
        std::thread::yield_now();
    }
    panic!("not ready within a minute: {last}");
}

#[test]
fn an_elected_weir_holds_its_leases_until_it_is_stopped_and_can_be_paused() {
    let sandbox = Sandbox::start();
    let weir = |args: &[&str]| {
        let output = Command::new(WEIR)
            .args(args)
            .env("KUBECONFIG", &sandbox.kubeconfig)
            .output()
            .expect("weir runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text)
    };
    let check = || -> (bool, Vec<String>) {
        let (good, text) = weir(&["check", "-n", "default", "-o", "json"]);
        let told: Value = serde_json::from_str(&text).expect("JSON");
        let findings = told["findings"].as_array().expect("findings");
        let of = |f: &Value| ["lease", "pause"].iter().any(|c| f["check"] == *c);
        let messages = findings
            .iter()
            .filter(|f| of(f))
            .map(|f| f["message"].to_string());
        (good, messages.collect())
    };
    assert!(
        check().1.iter().all(|m| m.contains("nobody holds")),
        "{:?}",
        check()
    );

    // Elected, it is ready and holds the Lease of each role
    let dir = tempfile::tempdir().expect("a directory");
    let health = free_port();
    let mut process = Command::new(WEIR)
        .args(["run", "--enable-leader-election", "--log-format", "text"])
        .args(["--leader-election-namespace", "default"])
        .args(["--storage-addr", "127.0.0.1:0", "--storage-path"])
        .arg(dir.path())
        .args(["--metrics-addr", &format!("127.0.0.1:{health}")])
        .env("KUBECONFIG", &sandbox.kubeconfig)
        .env("POD_NAME", "weir-a")
        .stderr(Stdio::null())
        .spawn()
        .expect("weir runs");
    until_ready(health);
    let (good, held) = check();
    assert!(good, "{held:?}");
    assert_eq!(held.len(), 5, "{held:?}");
    let by_it = |m: &String| m.contains("held by weir-a_") && m.contains("a Weir");
    assert!(held.iter().all(by_it), "{held:?}");

    // Paused, it says so; resumed, no more
    let (paused, told) = weir(&["pause", "--all", "--reason", "drill"]);
    assert!(paused && told.contains("namespace default"), "{told}");
    let (_, messages) = check();
    let last = messages.last().expect("findings");
    assert!(last.contains("is paused: drill"), "{messages:?}");
    assert!(weir(&["resume", "--all"]).0);
    assert_eq!(check().1.len(), 5);

    // Stopped, it ends well and lets go
    let id = process.id().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status();
    assert!(told.expect("kill runs").success());
    assert!(process.wait().expect("it ends").success());
    let (_, messages) = check();
    assert!(
        messages.iter().all(|m| m.contains("nobody holds")),
        "{messages:?}"
    );
}

#[test]
fn times_under_which_two_could_lead_are_refused() {
    let output = Command::new(WEIR)
        .args(["run", "--leader-election-lease-duration", "5s"])
        .output()
        .expect("weir runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        told.contains("lease duration 5s must be longer than the renew deadline 10s"),
        "{told}"
    );
}
