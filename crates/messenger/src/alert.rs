//! Owns how an alert reads in each service, and how it is sent there.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use url::Url;
use weir_runtime::Secret;
use weir_runtime::http::{Http, Request};

/// How long a service may take to accept an alert.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of an answer that are read.
const LIMIT: usize = 64 << 10;

/// A service that takes alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Slack, by an incoming webhook or by `chat.postMessage` with a token.
    Slack,
    /// Discord, by its webhook that takes Slack's form.
    Discord,
    /// Rocket.Chat.
    Rocket,
    /// Microsoft Teams, by a MessageCard.
    MsTeams,
    /// Google Chat, by a card.
    GChat,
}

/// Where an alert goes.
#[derive(Clone, Debug)]
pub struct Channel {
    /// The service.
    pub service: Service,
    /// Its address, which is a secret.
    pub address: Secret,
    /// The channel there; `general` where it is empty.
    pub channel: String,
    /// Who is seen to speak; `flagger` where it is empty.
    pub username: String,
    /// What authorises, where the address alone does not. Only Slack asks for it.
    pub token: Option<Secret>,
}

/// An alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alert {
    /// What it is about: `name.namespace`.
    pub subject: String,
    /// The text.
    pub text: String,
    /// Titles and values.
    pub fields: Vec<(String, String)>,
    /// Whether something failed.
    pub error: bool,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What is added to the path of the address.
    pub path: &'static str,
    /// The body.
    pub body: Value,
}

/// Why an alert was not accepted. None of them shows the address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertFailure {
    /// The address is none. Terminal until it changes.
    #[error("the address is not a URL")]
    Address,
    /// The service did not answer.
    #[error("the service did not answer: {0}")]
    NoAnswer(&'static str),
    /// The service refused it.
    #[error("the service refused it: {0}")]
    Refused(String),
}

/// An alert as a service reads it.
pub fn message(service: Service, channel: &str, username: &str, alert: &Alert) -> Message {
    let or = |text: &str, default: &str| if text.is_empty() { default } else { text }.to_owned();
    let (channel, username) = (or(channel, "general"), or(username, "flagger"));
    let body = match service {
        Service::Slack | Service::Discord => chat(&channel, &username, alert, ["good", "danger"]),
        Service::Rocket => chat(&channel, &username, alert, ["#0076D7", "#FF0000"]),
        Service::MsTeams => teams(alert),
        Service::GChat => card(alert),
    };
    let path = match service {
        Service::Discord => "/slack",
        _ => "",
    };
    Message { path, body }
}

fn chat(channel: &str, username: &str, alert: &Alert, [good, bad]: [&str; 2]) -> Value {
    let fields: Vec<Value> = alert
        .fields
        .iter()
        .map(|(title, value)| json!({"title": title, "value": value, "short": false}))
        .collect();
    json!({
        "channel": channel,
        "username": username,
        "icon_url": "",
        "icon_emoji": ":rocket:",
        "attachments": [{
            "color": if alert.error { bad } else { good },
            "author_name": alert.subject,
            "text": alert.text,
            "mrkdwn_in": ["text"],
            "fields": fields,
        }],
    })
}

fn teams(alert: &Alert) -> Value {
    let facts: Vec<Value> = alert
        .fields
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": if alert.error { "FF0000" } else { "0076D7" },
        "summary": alert.subject,
        "sections": [{
            "activityTitle": alert.text,
            "activitySubtitle": alert.subject,
            "facts": facts,
        }],
    })
}

fn card(alert: &Alert) -> Value {
    let colour = if alert.error { "#FF0000" } else { "#0076D7" };
    let text = |text: String| json!({"widgets": [{"textParagraph": {"text": text}}]});
    let said = format!("<font color=\"{colour}\">{}</font>", plain(&alert.text));
    let mut sections = vec![text(said)];
    sections.extend(
        alert
            .fields
            .iter()
            .map(|(title, value)| text(format!("<b>{}</b><br>{}", plain(title), plain(value)))),
    );
    json!({"cards": [{
        "header": {"title": "Flagger", "subtitle": alert.subject},
        "sections": sections,
    }]})
}

/// A text in which nothing is markup.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Sends an alert; 5 s, once.
pub async fn send(http: &Http, channel: &Channel, alert: &Alert) -> Result<(), AlertFailure> {
    let made = message(channel.service, &channel.channel, &channel.username, alert);
    let mut url = Url::parse(channel.address.expose()).map_err(|_| AlertFailure::Address)?;
    if !made.path.is_empty() && !url.path().ends_with(made.path) {
        let path = format!("{}{}", url.path().trim_end_matches('/'), made.path);
        url.set_path(&path);
    }
    let mut request = Request::post(url, made.body.to_string())
        .header(CONTENT_TYPE, "application/json")
        .timeout(TIMEOUT);
    request.follow_redirects = false;
    if channel.service == Service::Slack
        && let Some(token) = &channel.token
    {
        request = request.bearer(token);
    }
    // The failure of an exchange names its address, so only its kind is told.
    let response = http.send(request).await.map_err(|failure| {
        AlertFailure::NoAnswer(match failure {
            weir_runtime::http::HttpError::Timeout { .. } => "it took too long",
            weir_runtime::http::HttpError::Tls { .. } => "its certificate was refused",
            _ => "no exchange was possible",
        })
    })?;
    let status = response.status;
    let body = response.text(LIMIT).await.unwrap_or_default();
    if !status.is_success() {
        let excerpt: String = body.trim().chars().take(200).collect();
        return Err(AlertFailure::Refused(format!("{status} {excerpt}")));
    }
    // Slack's API says 200 to everything.
    let said: Value = serde_json::from_str(&body).unwrap_or_default();
    if channel.service == Service::Slack && said["ok"] == Value::Bool(false) {
        let why = said["error"].as_str().unwrap_or("it said no").to_owned();
        return Err(AlertFailure::Refused(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{HeaderMap, StatusCode};
    use weir_runtime::http::{HttpError, Response, Transport};

    use super::*;

    fn alert(error: bool) -> Alert {
        Alert {
            subject: "app.demo".into(),
            text: "Failed checks <2>".into(),
            fields: vec![("Target".into(), "Deployment/app.demo".into())],
            error,
        }
    }

    #[test]
    fn each_service_reads_its_own_form() {
        let chat = |colour: &str| {
            json!({
                "channel": "general", "username": "flagger", "icon_url": "",
                "icon_emoji": ":rocket:",
                "attachments": [{
                    "color": colour, "author_name": "app.demo", "text": "Failed checks <2>",
                    "mrkdwn_in": ["text"],
                    "fields": [{"title": "Target", "value": "Deployment/app.demo", "short": false}],
                }],
            })
        };
        let made = |service, error| message(service, "", "", &alert(error));
        assert_eq!(made(Service::Slack, true).body, chat("danger"));
        assert_eq!(made(Service::Discord, false).body, chat("good"));
        assert_eq!(made(Service::Discord, false).path, "/slack");
        assert_eq!(made(Service::Rocket, true).body, chat("#FF0000"));
        assert_eq!(
            made(Service::MsTeams, false).body,
            json!({
                "@type": "MessageCard", "@context": "http://schema.org/extensions",
                "themeColor": "0076D7", "summary": "app.demo",
                "sections": [{
                    "activityTitle": "Failed checks <2>", "activitySubtitle": "app.demo",
                    "facts": [{"name": "Target", "value": "Deployment/app.demo"}],
                }],
            })
        );
        let card = made(Service::GChat, true).body;
        assert_eq!(
            card["cards"][0]["sections"][0]["widgets"][0]["textParagraph"]["text"],
            "<font color=\"#FF0000\">Failed checks &lt;2&gt;</font>"
        );
    }

    struct Says(u16, &'static str, Arc<Mutex<Vec<String>>>);

    #[async_trait::async_trait]
    impl Transport for Says {
        async fn send(&self, request: Request) -> Result<Response, HttpError> {
            let sent = format!("{} {:?}", request.url, request.headers);
            self.2.lock().expect("lock").push(sent);
            if self.0 == 0 {
                return Err(HttpError::Connect {
                    url: request.url.to_string(),
                    what: "refused".into(),
                });
            }
            let status = StatusCode::from_u16(self.0).expect("a status");
            Ok(Response::full(status, HeaderMap::new(), self.1))
        }
    }

    async fn sent(
        service: Service,
        status: u16,
        body: &'static str,
    ) -> (Result<(), AlertFailure>, String) {
        let log = Arc::default();
        let http = Http::new(Says(status, body, Arc::clone(&log)));
        let channel = Channel {
            service,
            address: Secret::new("https://chat.example.com/hook/s3cret"),
            channel: String::new(),
            username: String::new(),
            token: Some(Secret::new("t0ken")),
        };
        let found = send(&http, &channel, &alert(false)).await;
        let log = log.lock().expect("lock").join("\n");
        (found, log)
    }

    #[tokio::test]
    async fn a_refusal_is_told_without_the_address() {
        let (found, log) = sent(Service::Slack, 200, r#"{"ok":false,"error":"no_channel"}"#).await;
        assert_eq!(found, Err(AlertFailure::Refused("no_channel".into())));
        assert!(log.contains("authorization") && !log.contains("t0ken"));
        for (status, body) in [(0, ""), (404, "gone")] {
            let (found, _) = sent(Service::MsTeams, status, body).await;
            let text = found.expect_err("refused").to_string();
            assert!(!text.contains("s3cret"), "{text}");
        }
        let (found, log) = sent(Service::Discord, 204, "").await;
        assert_eq!(found, Ok(()));
        assert!(log.starts_with("https://chat.example.com/hook/s3cret/slack"));
        assert!(!log.contains("authorization"), "the token is Slack's");
    }
}
