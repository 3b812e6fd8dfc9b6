//! The HTTP API: parameters in, Prometheus's JSON out, its refusals among it.
//!
//! Owns the shape only; answers come from the engine. What is not served is a 404 that says so.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use weir_promql::{Labels, Matcher, QueryError, parse_duration, parse_selector, parse_value};

use super::{Prometheus, lock};

/// Largest form that a query may be posted as.
const MAX_FORM: usize = 1 << 20;

impl Prometheus {
    /// The HTTP API as a router, at the paths that Prometheus has.
    pub fn router(&self) -> Router {
        let api = get(handle).post(handle);
        Router::new()
            .route(
                "/-/healthy",
                get(|| async { "Prometheus Server is Healthy.\n" }),
            )
            .route(
                "/-/ready",
                get(|| async { "Prometheus Server is Ready.\n" }),
            )
            .route("/api/v1/{*path}", api)
            .with_state(self.clone())
    }

    /// The answer to one API call: `path` is what follows `/api/v1/`.
    fn answer(&self, path: &str, params: &Params) -> Result<Json, ApiFailure> {
        let inner = &self.0;
        let now = inner.clock.now();
        match path {
            "query" => {
                let time = params.time("time", Some(now))?;
                Ok(inner
                    .engine
                    .instant(&inner.storage, params.query()?, time)?
                    .to_json())
            }
            "query_range" => {
                let (start, end) = (params.time("start", None)?, params.time("end", None)?);
                let step = params.step()?;
                let query = params.query()?;
                Ok(inner
                    .engine
                    .range(&inner.storage, query, start, end, step)?
                    .to_json())
            }
            "series" => {
                let sets = params.matchers()?;
                if sets.is_empty() {
                    return Err(ApiFailure::bad("no match[] parameter provided"));
                }
                Ok(self
                    .series(&sets, params)?
                    .iter()
                    .map(Labels::to_json)
                    .collect())
            }
            "labels" => {
                let series = self.series(&params.matchers()?, params)?;
                let names: BTreeSet<&str> = series
                    .iter()
                    .flat_map(Labels::iter)
                    .map(|(name, _)| name)
                    .collect();
                Ok(json!(names))
            }
            "targets" => Ok(self.targets()),
            "status/buildinfo" => Ok(json!({
                // The version whose answers the query engine is checked against.
                "version": "2.42.0", "revision": "weir-sandbox", "branch": "", "buildUser": "",
                "buildDate": "", "goVersion": "",
            })),
            _ => {
                let name = path
                    .strip_prefix("label/")
                    .and_then(|rest| rest.strip_suffix("/values"));
                let Some(name) = name else {
                    return Err(ApiFailure::not_found(path));
                };
                let series = self.series(&params.matchers()?, params)?;
                let values: BTreeSet<&str> = series
                    .iter()
                    .map(|labels| labels.get(name))
                    .filter(|v| !v.is_empty())
                    .collect();
                Ok(json!(values))
            }
        }
    }

    fn series(&self, sets: &[Vec<Matcher>], params: &Params) -> Result<Vec<Labels>, ApiFailure> {
        let start = params.time("start", Some(Timestamp::MIN))?;
        let end = params.time("end", Some(Timestamp::MAX))?;
        let all = [Vec::new()];
        Ok(self
            .0
            .storage
            .series(if sets.is_empty() { &all } else { sets }, start, end))
    }

    fn targets(&self) -> Json {
        let state = lock(&self.0.state);
        let active: Vec<Json> = state
            .iter()
            .map(|((url, labels), state)| {
                json!({
                    "discoveredLabels": {},
                    "labels": labels.to_json(),
                    "scrapePool": labels.get("job"),
                    "scrapeUrl": url,
                    "globalUrl": url,
                    "lastError": state.failure.as_deref().unwrap_or_default(),
                    "lastScrape": state.scraped.map(|at| at.to_string()),
                    "lastScrapeDuration": state.seconds,
                    "health": if state.failure.is_some() { "down" } else { "up" },
                    "scrapeInterval": format!("{:?}", self.0.options.interval),
                    "scrapeTimeout": format!("{:?}", self.0.options.timeout),
                })
            })
            .collect();
        json!({"activeTargets": active, "droppedTargets": []})
    }
}

async fn handle(State(prometheus): State<Prometheus>, request: Request) -> Response {
    let path = request
        .uri()
        .path()
        .trim_start_matches("/api/v1/")
        .to_owned();
    let mut params = Params::default();
    params.add(request.uri().query().unwrap_or_default().as_bytes());
    if request.method() == Method::POST {
        match to_bytes(request.into_body(), MAX_FORM).await {
            Ok(body) => params.add(&body),
            Err(_) => return ApiFailure::bad("the form cannot be read or is too large").respond(),
        }
    }
    match prometheus.answer(&path, &params) {
        Ok(data) => axum::Json(json!({"status": "success", "data": data})).into_response(),
        Err(failure) => failure.respond(),
    }
}

/// A refusal as the API writes it.
#[derive(Debug, PartialEq, Eq)]
struct ApiFailure {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl ApiFailure {
    fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "bad_data",
            message: message.into(),
        }
    }

    fn parameter(name: &str, what: impl std::fmt::Display) -> Self {
        Self::bad(format!("invalid parameter \"{name}\": {what}"))
    }

    fn not_found(path: &str) -> Self {
        let message = format!("the sandbox's Prometheus does not serve `/api/v1/{path}`");
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "not_found",
            message,
        }
    }

    fn respond(self) -> Response {
        let body = json!({"status": "error", "errorType": self.kind, "error": self.message});
        (self.status, axum::Json(body)).into_response()
    }
}

impl From<QueryError> for ApiFailure {
    fn from(refused: QueryError) -> Self {
        match &refused {
            QueryError::Range { .. } => Self::bad(refused.to_string()),
            _ if refused.is_bad_query() => Self::parameter("query", refused),
            _ => Self {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                kind: "execution",
                message: refused.to_string(),
            },
        }
    }
}

/// The parameters of a call, from its URL and its form, in order.
#[derive(Default)]
struct Params(Vec<(String, String)>);

impl Params {
    fn add(&mut self, encoded: &[u8]) {
        self.0
            .extend(url::form_urlencoded::parse(encoded).into_owned());
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn query(&self) -> Result<&str, ApiFailure> {
        self.get("query")
            .ok_or_else(|| ApiFailure::parameter("query", "the query is empty"))
    }

    /// Milliseconds, from seconds since the epoch or RFC 3339.
    fn time(&self, name: &str, default: Option<Timestamp>) -> Result<i64, ApiFailure> {
        match (self.get(name), default) {
            (None, Some(default)) => Ok(default.as_millisecond()),
            (None, None) => Err(ApiFailure::parameter(name, "it is missing")),
            (Some(text), _) => read_time(text).ok_or_else(|| {
                let what = format!("cannot parse {text:?} to a valid timestamp");
                ApiFailure::parameter(name, what)
            }),
        }
    }

    fn step(&self) -> Result<i64, ApiFailure> {
        let text = self.get("step").unwrap_or_default();
        let step = parse_value(text)
            .and_then(millis)
            .or_else(|| parse_duration(text));
        match step {
            Some(step) if step > 0 => Ok(step),
            Some(_) => Err(ApiFailure::parameter("step", "the step must be above zero")),
            None => {
                let what = format!("cannot parse {text:?} to a valid duration");
                Err(ApiFailure::parameter("step", what))
            }
        }
    }

    fn matchers(&self) -> Result<Vec<Vec<Matcher>>, ApiFailure> {
        let texts = self.0.iter().filter(|(name, _)| name == "match[]");
        texts
            .map(|(_, text)| {
                parse_selector(text).map_err(|refused| ApiFailure::parameter("match[]", refused))
            })
            .collect()
    }
}

fn millis(seconds: f64) -> Option<i64> {
    let millis = (seconds * 1000.0).round();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within the bound just checked"
    )]
    (millis.abs() < 9e15).then_some(millis as i64)
}

fn read_time(text: &str) -> Option<i64> {
    match parse_value(text) {
        Some(seconds) => millis(seconds),
        None => text
            .parse::<Timestamp>()
            .ok()
            .map(Timestamp::as_millisecond),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{call, rounds, start};

    #[tokio::test(start_paused = true)]
    async fn the_api_answers_as_prometheus_does() {
        let prometheus = start(&[Ok("m 1")], "/metrics");
        rounds(&prometheus, 3).await;
        let range = "/api/v1/query_range?query=m%2B1&start=1001&end=1002&step=1s";
        let (status, body) = call(&prometheus, "GET", range, "").await;
        assert_eq!((status, &body["status"]), (200, &json!("success")));
        assert_eq!(
            body["data"]["result"][0]["values"],
            json!([[1001, "2"], [1002, "2"]])
        );
        let at = "/api/v1/query?query=vector(1)&time=1970-01-01T00:16:41.5Z";
        let (_, body) = call(&prometheus, "GET", at, "").await;
        assert_eq!(
            body["data"],
            json!({"resultType": "vector", "result": [{"metric": {}, "value": [1001.5, "1"]}]})
        );
        let (_, body) = call(&prometheus, "GET", "/api/v1/labels?match[]=m", "").await;
        assert_eq!(
            body["data"],
            json!(["__name__", "instance", "job", "kubernetes_pod_name"])
        );
        let (_, body) = call(&prometheus, "GET", "/api/v1/label/__name__/values", "").await;
        assert_eq!(
            body["data"],
            json!([
                "m",
                "scrape_duration_seconds",
                "scrape_samples_scraped",
                "up"
            ])
        );
        let (status, body) = call(&prometheus, "GET", "/-/healthy", "").await;
        assert_eq!((status, body.is_string()), (200, true));
        let (status, _) = call(&prometheus, "GET", "/api/v1/status/buildinfo", "").await;
        assert_eq!(status, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_have_prometheus_s_shape() {
        let prometheus = start(&[Ok("m{a=\"1\"} 1\nm{a=\"2\"} 1")], "/metrics");
        rounds(&prometheus, 1).await;
        let table = [
            ("/api/v1/query?query=sum(", 400, "bad_data"),
            ("/api/v1/query", 400, "bad_data"),
            ("/api/v1/query?query=m&time=never", 400, "bad_data"),
            ("/api/v1/query?query=m@5", 400, "bad_data"),
            ("/api/v1/query?query=m*on()m", 422, "execution"),
            ("/api/v1/query_range?query=m&start=0&end=9", 400, "bad_data"),
            (
                "/api/v1/query_range?query=m&start=0&step=1",
                400,
                "bad_data",
            ),
            (
                "/api/v1/query_range?query=m&start=0&end=20000&step=1",
                400,
                "bad_data",
            ),
            (
                "/api/v1/query_range?query=m&start=9&end=0&step=1",
                400,
                "bad_data",
            ),
            ("/api/v1/series", 400, "bad_data"),
            ("/api/v1/series?match[]=sum(m)", 400, "bad_data"),
            ("/api/v1/alerts", 404, "not_found"),
        ];
        for (uri, status, kind) in table {
            let (got, body) = call(&prometheus, "GET", uri, "").await;
            assert_eq!(
                (got, &body["errorType"]),
                (status, &json!(kind)),
                "{uri}: {body}"
            );
            assert_eq!(body["status"], "error");
        }
        let (_, body) = call(&prometheus, "GET", "/api/v1/query?query=nope(m)", "").await;
        assert_eq!(
            body["error"],
            "invalid parameter \"query\": 1:1: there is no function named `nope`"
        );
    }
}
