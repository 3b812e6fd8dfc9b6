//! Owns the Prometheus that Weir asks, and the hook that never answers: what was asked when, and who
//! is told to be bad.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::routing::{any, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::spread;

#[derive(Default)]
struct Told {
    /// When each Canary was asked about.
    asked: BTreeMap<String, Vec<Instant>>,
    bad: BTreeSet<String>,
    first_bad: BTreeMap<String, Instant>,
    hanging: usize,
}

/// The server. It ends with the process.
#[derive(Clone)]
pub(crate) struct Prometheus {
    url: String,
    told: Arc<Mutex<Told>>,
}

#[derive(Deserialize)]
struct Asked {
    query: String,
}

impl Prometheus {
    pub(crate) async fn serve() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let this = Self {
            url: format!("http://{}", listener.local_addr()?),
            told: Arc::default(),
        };
        let router = Router::new()
            .route("/api/v1/query", post(answer).get(answer_get))
            .route("/hang", any(hang))
            .with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(this)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are bad from now on.
    pub(crate) fn turn_bad(&self, names: impl Iterator<Item = String>) {
        self.told().bad.extend(names);
    }

    /// When a Canary was first told to be bad.
    pub(crate) fn first_bad(&self, name: &str) -> Option<Instant> {
        self.told().first_bad.get(name).copied()
    }

    /// How many calls of the hook wait for an answer.
    pub(crate) fn hanging(&self) -> usize {
        self.told().hanging
    }

    /// By how much each check came later than an interval after the one before.
    pub(crate) fn lateness(&self, interval: Duration) -> Value {
        let told = self.told();
        let gaps = told.asked.values().flat_map(|times| {
            times.windows(2).map(|pair| {
                let gap = pair[1].duration_since(pair[0]);
                gap.as_secs_f64() - interval.as_secs_f64()
            })
        });
        spread(gaps.collect())
    }

    fn say(&self, query: &str) -> Value {
        let name = query.split("pod_name=~\"").nth(1);
        let name = name
            .and_then(|rest| rest.split('-').next())
            .unwrap_or_default();
        let mut told = self.told();
        let now = Instant::now();
        told.asked.entry(name.to_owned()).or_default().push(now);
        let bad = told.bad.contains(name);
        if bad {
            told.first_bad.entry(name.to_owned()).or_insert(now);
        }
        let value = if bad { "50" } else { "100" };
        json!({"status": "success", "data": {"resultType": "vector",
            "result": [{"metric": {}, "value": [0.0, value]}]}})
    }
}

async fn answer(State(this): State<Prometheus>, body: String) -> Json<Value> {
    let fields = url::form_urlencoded::parse(body.as_bytes());
    let query = fields.into_iter().find(|(name, _)| name == "query");
    Json(this.say(query.as_ref().map_or("", |(_, text)| text)))
}

async fn answer_get(State(this): State<Prometheus>, Query(asked): Query<Asked>) -> Json<Value> {
    Json(this.say(&asked.query))
}

async fn hang(State(this): State<Prometheus>) {
    this.told().hanging += 1;
    std::future::pending::<()>().await;
}
