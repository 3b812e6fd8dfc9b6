//! Owns the doors to what runs inside pods: their logs, and the refusal of shells, attachments and
//! ports, which need a node that can do so. It refuses to know where logs are kept; see
//! [`PodLogs`].

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use weir_object::path;

use crate::body::ApiBody;
use crate::objects;
use crate::refusal::{Cause, Refusal};
use crate::request::Target;
use crate::server::ApiServer;

/// What is asked of a container's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The container's name; one that the pod has.
    pub container: String,
    /// Go on until the container ends.
    pub follow: bool,
    /// The run before the present one.
    pub previous: bool,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Only so many of the last lines.
    pub tail: Option<usize>,
    /// At most so many bytes.
    pub limit: Option<usize>,
}

/// The lines of a log.
pub type LogStream = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// Who keeps the logs of pods that run on a node.
pub trait PodLogs: Send + Sync {
    /// A container's log. `pod` is the object as it is now.
    ///
    /// # Errors
    /// The words for the client, which become a bad request.
    fn open(&self, pod: &Value, asked: &LogOptions) -> Result<LogStream, String>;
}

/// Answers a request for what is inside a pod; none when it is for something else.
pub(crate) fn serve(
    server: &ApiServer,
    target: &Target,
    head: &Parts,
) -> Result<Option<Response<ApiBody>>, Refusal> {
    let (Some(name), Some(sub)) = (target.name.as_deref(), target.sub.as_deref()) else {
        return Ok(None);
    };
    let inside = matches!(sub, "log" | "exec" | "attach" | "portforward");
    if !inside || !target.group.is_empty() || target.plural != "pods" || target.version != "v1" {
        return Ok(None);
    }
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    if !reads && (sub == "log" || head.method != Method::POST) {
        return Err(Refusal::MethodNotAllowed);
    }
    let query = head.uri.query().unwrap_or_default();
    let asked = if sub == "log" {
        options(name, query, server.0.now())?
    } else {
        LogOptions {
            container: parameter(query, "container").unwrap_or_default(),
            ..LogOptions::default()
        }
    };
    let pod = {
        let state = server.0.read();
        let pods = state.registry.get("", "v1", "pods").cloned();
        let pods = pods.ok_or(Refusal::NoResource)?;
        objects::get(&state, &pods, target.namespace.as_deref(), name)?
    };
    let asked = if sub == "portforward" {
        asked
    } else {
        LogOptions {
            container: container(&pod, &asked.container)?,
            ..asked
        }
    };
    if path::text(&pod, &["spec", "nodeName"]).is_empty() {
        if sub == "log" {
            let mut response = Response::new(ApiBody::whole(Vec::new()));
            *response.status_mut() = StatusCode::NO_CONTENT;
            return Ok(Some(response));
        }
        return Err(Refusal::BadRequest(format!(
            "pod {name} does not have a host assigned"
        )));
    }
    if sub != "log" {
        return Err(Refusal::BadRequest(format!(
            "{sub}: pods here are processes of this machine without a node agent to reach into \
             them; use the machine's own tools"
        )));
    }
    let stream = match &server.0.logs {
        Some(logs) => logs.open(&pod, &asked).map_err(Refusal::BadRequest)?,
        // Without a keeper of logs, pods run nowhere and say nothing.
        None => Box::pin(futures::stream::empty()),
    };
    let mut response = Response::new(ApiBody::stream(stream));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(Some(response))
}

fn parameter(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(own, _)| own == name)
        .map(|(_, value)| value.into_owned())
}

/// Reads what is asked of a log, and refuses what cannot be.
fn options(pod: &str, query: &str, now: Timestamp) -> Result<LogOptions, Refusal> {
    let flag = |name| {
        parameter(query, name).is_some_and(|v| !matches!(v.to_lowercase().as_str(), "false" | "0"))
    };
    let number = |name: &str| -> Result<Option<i64>, Refusal> {
        let Some(text) = parameter(query, name) else {
            return Ok(None);
        };
        text.parse::<i64>().map(Some).map_err(|_| {
            Refusal::BadRequest(format!(
                "strconv.ParseInt: parsing \"{text}\": invalid syntax"
            ))
        })
    };
    let (tail, limit) = (number("tailLines")?, number("limitBytes")?);
    let seconds = number("sinceSeconds")?;
    let time = parameter(query, "sinceTime").filter(|text| !text.is_empty());
    let time = time
        .map(|text| {
            text.parse::<Timestamp>().map_err(|_| {
                Refusal::BadRequest(format!(
                    "parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \
                     \"{text}\" as \"2006\""
                ))
            })
        })
        .transpose()?;
    let mut causes = Vec::new();
    let mut least = |field: &str, value: Option<i64>, least: i64, words: &str| {
        if let Some(value) = value.filter(|value| *value < least) {
            causes.push(Cause::invalid(field, &value.into(), words));
        }
    };
    least("tailLines", tail, 0, "must be greater than or equal to 0");
    least("limitBytes", limit, 1, "must be greater than 0");
    if seconds.is_some() && time.is_some() {
        let words = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        causes.push(Cause::forbidden("[]", words));
    } else {
        least("sinceSeconds", seconds, 1, "must be greater than 0");
    }
    if parameter(query, "stream").is_some() {
        causes.push(Cause::forbidden("stream", "may not be specified"));
    }
    if !causes.is_empty() {
        return Err(Refusal::Invalid {
            group: String::new(),
            kind: "PodLogOptions".to_owned(),
            name: pod.to_owned(),
            causes,
        });
    }
    let since = seconds.and_then(|s| now.checked_sub(SignedDuration::from_secs(s)).ok());
    let size = |value: Option<i64>| value.and_then(|v| usize::try_from(v).ok());
    Ok(LogOptions {
        container: parameter(query, "container").unwrap_or_default(),
        follow: flag("follow"),
        previous: flag("previous"),
        timestamps: flag("timestamps"),
        since: time.or(since),
        tail: size(tail),
        limit: size(limit),
    })
}

/// The container that is meant.
fn container(pod: &Value, asked: &str) -> Result<String, Refusal> {
    let name = path::text(pod, &["metadata", "name"]);
    let names = |field: &str| -> Vec<&str> {
        let list = path::get(pod, &["spec", field]).and_then(Value::as_array);
        let each = list.into_iter().flatten();
        each.map(|c| path::text(c, &["name"])).collect()
    };
    let all: Vec<&str> = ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(names)
        .collect();
    if !asked.is_empty() {
        if all.contains(&asked) {
            return Ok(asked.to_owned());
        }
        return Err(Refusal::BadRequest(format!(
            "container {asked} is not valid for pod {name}"
        )));
    }
    match names("containers").as_slice() {
        [] => Err(Refusal::BadRequest(format!(
            "a container name must be specified for pod {name}"
        ))),
        [only] if all.len() == 1 => Ok((*only).to_owned()),
        _ => Err(Refusal::BadRequest(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            all.join(" ")
        ))),
    }
}
