//! Owns one session on one server: a namespace of its own, its steps in order, and that what it
//! made outside of the namespace is removed again. It refuses to judge answers.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::controlled;
use crate::fill::{self, Values};
use crate::session::{Session, Step, Watch, Words};
use crate::target::{Request, Target};

/// How long a condition is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a stream's next event is waited for.
const QUIET: Duration = Duration::from_secs(6);
/// Headers that are compared.
const HEADERS: [&str; 4] = ["allow", "content-type", "retry-after", "warning"];

/// What one step brought: code, headers and body.
pub(crate) struct Outcome {
    pub(crate) id: String,
    /// The request as sent, for people.
    pub(crate) request: String,
    /// The request without names that differ from run to run.
    pub(crate) shape: String,
    pub(crate) answer: Value,
}

/// Where steps play: a namespace, and what further placeholders stand for.
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) values: Vec<(String, Value)>,
}

/// Steps on one server, and what they remember.
pub(crate) struct Run<'a> {
    target: &'a Target,
    values: Values,
    made: Vec<String>,
    /// Objects within the namespace that finalizers would keep.
    held: BTreeSet<String>,
    streams: HashMap<String, mpsc::UnboundedReceiver<Value>>,
}

/// Plays a session. `id` names what it makes; it must be new.
pub(crate) async fn play(
    target: &Target,
    session: &Session,
    id: &str,
) -> anyhow::Result<Vec<Outcome>> {
    let place = Place {
        namespace: id.to_owned(),
        values: vec![("id".to_owned(), id.into())],
    };
    let mut run = Run::new(target, &place);
    namespace(target, id).await?;
    let mut out = Vec::new();
    for step in &session.steps {
        let outcome = run.step(session, step).await;
        out.push(outcome.with_context(|| format!("{} step {}", session.name, step.id))?);
    }
    run.clean(id).await;
    Ok(out)
}

/// Makes a namespace and waits for what controllers put into it.
pub(crate) async fn namespace(target: &Target, name: &str) -> anyhow::Result<()> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let request = Request::new("POST", "/api/v1/namespaces", body.to_string());
    target.send(&request).await?;
    let real = matches!(target, Target::Real(_));
    let until = Instant::now()
        + if real {
            PATIENCE
        } else {
            Duration::from_secs(1)
        };
    for path in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
        let request = Request::get(format!("/api/v1/namespaces/{name}/{path}"));
        while target.send(&request).await?.code != 200 && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

impl<'a> Run<'a> {
    /// Nothing done yet.
    pub(crate) fn new(target: &'a Target, place: &Place) -> Self {
        let mut values = Values::default();
        let namespace = ("ns".to_owned(), place.namespace.clone().into());
        values
            .known
            .extend(place.values.iter().cloned().chain([namespace]));
        Self {
            target,
            values,
            made: Vec::new(),
            held: BTreeSet::new(),
            streams: HashMap::new(),
        }
    }

    /// The server.
    pub(crate) fn target(&self) -> &Target {
        self.target
    }

    /// Fills a text's placeholders.
    pub(crate) fn text(&self, text: &str) -> String {
        self.values.text(text)
    }

    async fn clean(&self, namespace: &str) {
        for path in &self.held {
            self.free(path).await;
        }
        for path in self.made.iter().rev() {
            // What is gone already is fine.
            if !path.contains("customresourcedefinitions/") {
                self.free(path).await;
            }
            let _ = self.target.send(&Request::new("DELETE", path, "")).await;
        }
        let path = format!("/api/v1/namespaces/{namespace}");
        let _ = self.target.send(&Request::new("DELETE", path, "")).await;
    }

    /// Takes the finalizers off an object, which would keep it and its namespace forever.
    async fn free(&self, path: &str) {
        let mut free = Request::new("PATCH", path, r#"{"metadata":{"finalizers":null}}"#);
        free.headers.retain(|(name, _)| name != "content-type");
        let merge = "application/merge-patch+json".to_owned();
        free.headers.push(("content-type".to_owned(), merge));
        let _ = self.target.send(&free).await;
    }

    /// Plays one step.
    pub(crate) async fn step(&mut self, session: &Session, step: &Step) -> anyhow::Result<Outcome> {
        let words = &step.words;
        self.values
            .known
            .insert("n".to_owned(), step.id.clone().into());
        if let Some(name) = words.watch.as_ref().and_then(|w| w.collect.as_ref()) {
            let watch = words.watch.clone().unwrap_or_default();
            let events = self.collect(name, &watch).await;
            return Ok(Outcome {
                id: step.id.clone(),
                request: format!("(events of {name})"),
                shape: String::new(),
                answer: json!({"body": shape_of_events(events, &watch)}),
            });
        }
        if let Some(name) = words.save.as_ref().filter(|_| words.controlled) {
            self.await_controllers(step, name).await?;
        }
        let request = self.request(session, step)?;
        let mut shape = format!("{} {}", step.method, step.path);
        for (name, value) in &request.headers {
            let _ = write!(shape, "\n{name}: {value}");
        }
        let _ = write!(
            shape,
            "\n{:?} {:?} {:?} {:?} {:?}",
            words.body, words.raw, words.base64, words.make, words.set
        );
        let mut answer = self.ask(&request, words).await?;
        let done = answer.get("code").and_then(Value::as_u64).unwrap_or(0) < 400;
        if let Some(name) = words.save.as_ref().filter(|_| done) {
            let body = answer.get("body").cloned().unwrap_or_default();
            self.values.known.insert(name.clone(), body);
        }
        self.note_held(&request, &answer);
        self.note_made(&request, &answer);
        compared(&mut answer, words);
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let body: String = text.chars().take(600).collect();
        let media = header(&request, "content-type");
        Ok(Outcome {
            id: step.id.clone(),
            request: format!("{} {} {media} {body}", request.method, request.path),
            shape,
            answer,
        })
    }

    fn request(&self, session: &Session, step: &Step) -> anyhow::Result<Request> {
        let words = &step.words;
        let mut body = match (&words.make, &words.body) {
            (Some(name), _) => {
                let template = session.templates.get(name);
                Some(
                    template
                        .with_context(|| format!("there is no template {name}"))?
                        .clone(),
                )
            }
            (None, body) => body.clone(),
        };
        if let Some(body) = &mut body {
            for pointer in &words.drop {
                fill::remove(body, pointer);
            }
            for (pointer, value) in &words.set {
                fill::set(body, pointer, value.clone());
            }
        }
        let filled = body.map(|b| self.values.value(&b));
        let bytes: Bytes = match (&words.raw, &words.base64, filled) {
            (Some(raw), _, _) => self.values.text(&raw.text()).into(),
            (_, Some(text), _) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text)?;
                renamed(bytes, self.values.text("${ns}").as_bytes()).into()
            }
            (_, _, Some(body)) => body.to_string().into(),
            _ => Bytes::new(),
        };
        let media = match words.r#type.as_deref() {
            None if bytes.is_empty() => None,
            None | Some("json") => Some("application/json"),
            Some("none") => None,
            Some("yaml") => Some("application/yaml"),
            Some("merge") => Some("application/merge-patch+json"),
            Some("jsonpatch") => Some("application/json-patch+json"),
            Some("strategic") => Some("application/strategic-merge-patch+json"),
            Some("apply") => Some("application/apply-patch+yaml"),
            Some("protobuf") => Some("application/vnd.kubernetes.protobuf"),
            Some(other) => Some(other),
        };
        let accept = match words.accept.as_deref() {
            None => "application/json",
            Some("table") => "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            Some("partial") => "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
            Some("partials") => "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            Some(other) => other,
        };
        let mut headers = vec![("user-agent".to_owned(), "conform/v1".to_owned())];
        if let Some(agent) = &words.agent {
            headers = vec![("user-agent".to_owned(), agent.clone())];
        }
        if accept != "none" {
            headers.push(("accept".to_owned(), accept.to_owned()));
        }
        if let Some(media) = media {
            headers.push(("content-type".to_owned(), media.to_owned()));
        }
        if let Some(user) = &words.r#as {
            headers.push(("impersonate-user".to_owned(), self.values.text(user)));
        }
        for group in &words.groups {
            headers.push(("impersonate-group".to_owned(), self.values.text(group)));
        }
        if let Some(token) = &words.bearer {
            let token = format!("Bearer {}", self.values.text(token));
            headers.push(("authorization".to_owned(), token));
        }
        for (name, value) in &words.headers {
            headers.push((name.to_lowercase(), self.values.text(value)));
        }
        Ok(Request {
            method: step.method.clone(),
            path: self.values.text(&step.path),
            headers,
            body: bytes,
        })
    }

    /// Waits until controllers leave the object alone that a step changes, and remembers what they
    /// made of it, as a client would that read it just before.
    async fn await_controllers(&mut self, step: &Step, name: &str) -> anyhow::Result<()> {
        let changes = ["PATCH", "PUT"].contains(&step.method.as_str());
        if !changes {
            return Ok(());
        }
        let path = self.values.text(&step.path);
        let path = path.split('?').next().unwrap_or_default();
        let path = path.trim_end_matches("/status").trim_end_matches("/scale");
        let mut last = None;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let answer = self.once(&Request::get(path), &Words::default()).await?;
            let body = answer.get("body").cloned().unwrap_or_default();
            let version = body.pointer("/metadata/resourceVersion").cloned();
            if answer.get("code") != Some(&200.into()) {
                break;
            }
            if version == last {
                if !step.path.contains("/scale") {
                    self.values.known.insert(name.to_owned(), body);
                }
                break;
            }
            last = version;
            sleep(Duration::from_millis(250)).await;
        }
        Ok(())
    }

    /// Sends the request, again until its condition holds.
    async fn ask(&mut self, request: &Request, words: &Words) -> anyhow::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.once(request, words).await?;
            let Some(until) = &words.until else {
                return Ok(answer);
            };
            let until = self.values.value(&Value::Object(until.clone()));
            if holds(&answer, &until) || Instant::now() > deadline {
                return Ok(answer);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn once(&mut self, request: &Request, words: &Words) -> anyhow::Result<Value> {
        let response = self.target.open(request).await?;
        let (head, body) = response.into_parts();
        let mut headers = Map::new();
        for name in HEADERS {
            let values: Vec<Value> = head
                .headers
                .get_all(name)
                .iter()
                .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned().into())
                .collect();
            if !values.is_empty() {
                headers.insert(name.to_owned(), values.into());
            }
        }
        let mut answer = json!({"code": head.status.as_u16(), "headers": headers});
        let streams = words.watch.as_ref().filter(|_| head.status.is_success());
        let body = match streams {
            None => {
                let bytes = timeout(PATIENCE, body.collect()).await;
                let bytes = bytes.context("the answer does not end")?;
                let bytes = bytes.map_err(|e| anyhow::anyhow!("{e}"))?.to_bytes();
                serde_json::from_slice(&bytes)
                    .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into())
            }
            Some(watch) => {
                let (sender, receiver) = mpsc::unbounded_channel();
                tokio::spawn(read_events(body.into_data_stream(), sender));
                let name = watch.start.clone().unwrap_or_default();
                self.streams.insert(name, receiver);
                if watch.start.is_some() {
                    Value::Null
                } else {
                    shape_of_events(self.collect("", watch).await, watch)
                }
            }
        };
        fill::set(&mut answer, "/body", body);
        Ok(answer)
    }

    async fn collect(&mut self, name: &str, watch: &Watch) -> Vec<Value> {
        let mut out = Vec::new();
        let Some(events) = self.streams.get_mut(name) else {
            return out;
        };
        while watch.events.is_none_or(|most| out.len() < most) {
            match timeout(QUIET, events.recv()).await {
                Ok(Some(event)) => {
                    let bookmark = event.get("type") == Some(&"BOOKMARK".into());
                    if !(bookmark && watch.no_bookmarks) {
                        out.push(event);
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    out.push("(no more events)".into());
                    break;
                }
            }
        }
        out
    }

    /// Remembers objects with finalizers.
    fn note_held(&mut self, request: &Request, answer: &Value) {
        let path = request.path.split('?').next().unwrap_or_default();
        let path = path.trim_end_matches("/status");
        let finalizers = answer.pointer("/body/metadata/finalizers");
        let some = finalizers
            .and_then(Value::as_array)
            .is_some_and(|f| !f.is_empty());
        let name = answer
            .pointer("/body/metadata/name")
            .and_then(Value::as_str);
        if let Some(name) = name.filter(|_| some) {
            self.held.insert(match request.method.as_str() {
                "POST" => format!("{path}/{name}"),
                _ => path.to_owned(),
            });
        }
    }

    /// Remembers objects outside of the session's namespace.
    fn note_made(&mut self, request: &Request, answer: &Value) {
        let path = request.path.split('?').next().unwrap_or_default();
        let dry = request.path.contains("dryRun");
        if answer.get("code") != Some(&201.into()) || dry {
            return;
        }
        let name = answer
            .pointer("/body/metadata/name")
            .and_then(Value::as_str);
        let Some(name) = name else { return };
        let inside = path
            .split_once("/namespaces/")
            .is_some_and(|(_, rest)| rest.contains('/'));
        // A definition that goes by its own name is shared by all who play at once; it stays.
        let id = self.values.text("${ns}");
        let shared = path.ends_with("/customresourcedefinitions") && !name.contains(&id);
        if inside || shared {
            return;
        }
        match request.method.as_str() {
            "POST" => self
                .made
                .push(format!("{}/{name}", path.trim_end_matches('/'))),
            "PATCH" => self.made.push(path.to_owned()),
            _ => {}
        }
    }
}

/// Puts the namespace where a recorded body has its own; lengths stay, as the encoding wants.
fn renamed(mut bytes: Vec<u8>, namespace: &[u8]) -> Vec<u8> {
    let was = crate::record::SPACE.as_bytes();
    if namespace.len() != was.len() {
        return bytes;
    }
    let mut at = 0;
    while let Some(part) = bytes.get_mut(at..at + was.len()) {
        if part == was {
            part.copy_from_slice(namespace);
        }
        at += 1;
    }
    bytes
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let found = request.headers.iter().find(|(n, _)| n == name);
    found.map_or("", |(_, v)| v.as_str())
}

fn holds(answer: &Value, until: &Value) -> bool {
    until
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, wanted)| {
            let is = if key == "code" {
                answer.get("code")
            } else {
                answer.pointer(&format!("/body{key}"))
            };
            match wanted {
                Value::Null => is.is_none_or(Value::is_null),
                Value::String(any) if any == "*" => is.is_some_and(|v| !v.is_null()),
                wanted => is == Some(wanted),
            }
        })
}

/// Leaves what is compared.
fn compared(answer: &mut Value, words: &Words) {
    let told = answer.pointer("/body/message").and_then(Value::as_str);
    if told.is_some_and(|m| m.starts_with("Apply failed with"))
        && let Some(causes) = answer.pointer_mut("/body/details/causes")
    {
        // Conflicts with several managers come in no order.
        sort(causes);
    }
    if words.controlled
        && let Some(body) = answer.get_mut("body")
    {
        controlled::without(body);
        if words.watch.is_some() {
            // Whoever else watches at that time sees them write.
            let lists = body.as_object_mut().into_iter().flat_map(Map::values_mut);
            for events in lists.filter_map(Value::as_array_mut) {
                events.retain(|event| event.get("type") != Some(&"MODIFIED".into()));
            }
        }
    }
    if !words.show.is_empty() {
        let body = answer.get("body").cloned().unwrap_or_default();
        let mut parts = Map::new();
        for pointer in &words.show {
            parts.extend(fill::pick(&body, pointer));
        }
        fill::set(answer, "/body", Value::Object(parts));
    }
    if let Some(Value::Array(causes)) = answer.pointer_mut("/body/details/causes") {
        // The server tells the same cause as often as its rules are asked.
        let mut seen = Vec::new();
        causes.retain(|cause| {
            let new = !seen.contains(cause);
            seen.push(cause.clone());
            new
        });
    }
    for pointer in &words.hide {
        fill::remove(answer, &format!("/body{pointer}"));
    }
    if words.unordered
        && let Some(body) = answer.get_mut("body")
    {
        sort(body);
    }
}

fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(sort);
            items.sort_by_cached_key(Value::to_string);
        }
        Value::Object(map) => map.values_mut().for_each(sort),
        _ => {}
    }
}

fn shape_of_events(events: Vec<Value>, watch: &Watch) -> Value {
    if !watch.by_object {
        return events.into();
    }
    let mut out = Map::new();
    for event in events {
        // When a bookmark comes that ends nothing is a matter of the server's timers.
        let ends = event.pointer("/object/metadata/annotations/k8s.io~1initial-events-end");
        if event.get("type") == Some(&"BOOKMARK".into()) && ends.is_none() {
            continue;
        }
        let name = event
            .pointer("/object/metadata/name")
            .and_then(Value::as_str);
        let name = name.unwrap_or_default().to_owned();
        if let Value::Array(list) = out.entry(name).or_insert_with(|| json!([])) {
            list.push(event);
        }
    }
    out.into()
}

/// Sends each line of a stream as an event.
async fn read_events<S, E>(mut stream: S, to: mpsc::UnboundedSender<Value>)
where
    S: futures::Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut held: Vec<u8> = Vec::new();
    while let Some(Ok(chunk)) = stream.next().await {
        held.extend_from_slice(&chunk);
        while let Some(end) = held.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            let event = serde_json::from_slice(&line)
                .unwrap_or_else(|_| String::from_utf8_lossy(&line).into_owned().into());
            if to.send(event).is_err() {
                return;
            }
        }
    }
}
