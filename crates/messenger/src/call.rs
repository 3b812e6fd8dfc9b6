//! Owns the call of one hook: a POST of JSON, tried again where that can help, signed where there is
//! a secret.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use sha2::Sha256;
use url::{Host, Url};
use weir_runtime::Secret;
use weir_runtime::http::{Http, HttpError, Request, Tls};

/// The most often a call is tried again, whatever is asked for.
pub const MOST_RETRIES: u32 = 10;

/// The first wait before a retry; each further one is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// How much of an answer is kept to be told.
const EXCERPT: usize = 1024;

/// The most bytes of an answer that are read.
const LIMIT: usize = 1 << 20;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const SIGNATURE: HeaderName = HeaderName::from_static("x-signature");

/// A hook to call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its address.
    pub url: Url,
    /// What is sent.
    pub body: Value,
    /// How long one try may take.
    pub timeout: Duration,
    /// How often a try that failed in a way that may pass is repeated; at most [`MOST_RETRIES`].
    pub retries: u32,
    /// Whether the certificate is not checked.
    pub insecure: bool,
    /// The same for every repetition of the same question; sent as `Idempotency-Key`.
    pub id: String,
    /// What the body is signed with: `X-Signature: sha256=` and the HMAC of the body in hexadecimal.
    pub secret: Option<Secret>,
}

/// Why a hook did not say yes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// It answered, and not with yes. Terminal until the hook changes its mind.
    #[error("{status}{}", excerpt(body))]
    Refused {
        /// The status.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
    /// It sends to another place. Terminal: what the other place says is not this hook's answer.
    #[error("{status} redirects to `{to}`; give that address if it is meant")]
    Redirected {
        /// The status.
        status: u16,
        /// Where to.
        to: String,
    },
    /// It did not answer, or not well, as often as it was tried.
    #[error("{last} after {tries} tries")]
    GaveUp {
        /// How often it was tried.
        tries: u32,
        /// The last failure.
        last: String,
    },
    /// The address may not be called. Terminal.
    #[error(
        "`{host}` may not be called: it is an address of the machine or the cloud, not a service"
    )]
    Forbidden {
        /// The host.
        host: String,
    },
    /// The exchange failed in a way that does not pass. Terminal.
    #[error(transparent)]
    Exchange(HttpError),
}

fn excerpt(body: &str) -> String {
    if body.is_empty() {
        String::new()
    } else {
        format!(" {body}")
    }
}

/// Calls a hook; any status of 200 to 299 is a yes. Says the beginning of its answer.
pub async fn call(http: &Http, call: &Call) -> Result<String, CallFailure> {
    if let Some(host) = forbidden(&call.url) {
        return Err(CallFailure::Forbidden { host });
    }
    let body = call.body.to_string();
    let signature = call.secret.as_ref().and_then(|s| sign(s, body.as_bytes()));
    let tries = call.retries.min(MOST_RETRIES) + 1;
    let mut wait = FIRST;
    let mut last = String::new();
    for attempt in 1..=tries {
        let mut request = Request::post(call.url.clone(), body.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, &call.id)
            .timeout(call.timeout)
            .tls(Tls {
                insecure: call.insecure,
                ..Tls::default()
            });
        request.follow_redirects = false;
        if let Some(signature) = &signature {
            request = request.header(SIGNATURE, signature);
        }
        let mut asked = None;
        match http.send(request).await {
            Ok(response) => {
                let status = response.status;
                let headers = response.headers.clone();
                let text = response.text(LIMIT).await.unwrap_or_default();
                let text: String = text.trim().chars().take(EXCERPT).collect();
                if status.is_success() {
                    return Ok(text);
                }
                if status.is_redirection() {
                    let to = headers.get(LOCATION).and_then(|v| v.to_str().ok());
                    return Err(CallFailure::Redirected {
                        status: status.as_u16(),
                        to: to.unwrap_or("nowhere").to_owned(),
                    });
                }
                let refused = CallFailure::Refused {
                    status: status.as_u16(),
                    body: text,
                };
                if !may_pass(status) || tries == 1 {
                    return Err(refused);
                }
                asked = retry_after(status, &headers);
                last = refused.to_string();
            }
            Err(failure) if failure.is_retryable() => last = failure.to_string(),
            Err(failure) => return Err(CallFailure::Exchange(failure)),
        }
        if attempt < tries {
            tokio::time::sleep(asked.unwrap_or(wait)).await;
            wait = (wait * 2).min(LONGEST);
        }
    }
    Err(CallFailure::GaveUp { tries, last })
}

/// Whether the same call may succeed a little later.
fn may_pass(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// The wait that the server asks for, as far as it is reasonable.
fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if ![
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&status)
    {
        return None;
    }
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST))
}

fn sign(secret: &Secret, body: &[u8]) -> Option<String> {
    // A key of any length will do; the type does not say so.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(body);
    let mut out = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        // Writing to a String does not fail.
        let _ = write!(out, "{byte:02x}");
    }
    Some(out)
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
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tokio::time::Instant;
    use weir_runtime::http::{Response, Transport};

    use super::*;

    /// A server that gives these answers in turn, and keeps what it was asked.
    #[derive(Clone, Default)]
    struct Server {
        answers: Arc<Mutex<VecDeque<Result<Response, HttpError>>>>,
        asked: Arc<Mutex<Vec<Request>>>,
    }

    #[async_trait::async_trait]
    impl Transport for Server {
        async fn send(&self, request: Request) -> Result<Response, HttpError> {
            self.asked.lock().expect("lock").push(request);
            let next = self.answers.lock().expect("lock").pop_front();
            next.expect("as many answers as questions")
        }
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "it stands beside answers that fail"
    )]
    fn answer(status: u16, body: &'static str) -> Result<Response, HttpError> {
        let status = StatusCode::from_u16(status).expect("a status");
        Ok(Response::full(status, HeaderMap::new(), body))
    }

    fn server(answers: Vec<Result<Response, HttpError>>) -> Server {
        Server {
            answers: Arc::new(Mutex::new(answers.into())),
            ..Server::default()
        }
    }

    fn to(url: &str, retries: u32) -> Call {
        Call {
            url: Url::parse(url).expect("a URL"),
            body: json!({"name": "app"}),
            timeout: Duration::from_secs(10),
            retries,
            insecure: false,
            id: "u/1".to_owned(),
            secret: None,
        }
    }

    async fn asked(server: &Server, retries: u32) -> Result<String, CallFailure> {
        let http = Http::new(server.clone());
        call(&http, &to("http://hook/x", retries)).await
    }

    #[tokio::test(start_paused = true)]
    async fn r21_any_success_is_a_yes() {
        for status in [200, 202, 204, 206] {
            let found = asked(&server(vec![answer(status, " fine ")]), 0).await;
            assert_eq!(found.as_deref(), Ok("fine"), "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn r21_what_a_failing_hook_says_is_kept() {
        let found = asked(&server(vec![answer(403, "closed")]), 3).await;
        assert_eq!(found.expect_err("no").to_string(), "403 closed");
        let all = vec![answer(500, "a"), answer(502, "b"), answer(503, "c")];
        let found = asked(&server(all), 2).await;
        assert_eq!(found.expect_err("no").to_string(), "503 c after 3 tries");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_may_pass_is_waited_for() {
        let refused = HttpError::Connect {
            url: "http://hook/x".into(),
            what: "refused".into(),
        };
        let mut busy = answer(429, "").expect("an answer");
        busy.headers
            .insert(RETRY_AFTER, "7".parse().expect("a value"));
        let server = server(vec![Err(refused), Ok(busy), answer(501, "never")]);
        let begun = Instant::now();
        let found = asked(&server, 9).await;
        assert_eq!(found.expect_err("no").to_string(), "501 never");
        assert_eq!(begun.elapsed().as_secs(), 1 + 7);
        let ids: Vec<_> = (server.asked.lock().expect("lock").iter())
            .map(|r| r.headers.get("idempotency-key").cloned())
            .collect();
        assert_eq!(ids, vec![Some("u/1".parse().expect("a value")); 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_bounded() {
        let all = (0..=MOST_RETRIES).map(|_| answer(500, "")).collect();
        let found = asked(&server(all), 1_000_000).await;
        assert_eq!(found.expect_err("no").to_string(), "500 after 11 tries");
    }

    #[tokio::test(start_paused = true)]
    async fn a_redirect_is_no_answer() {
        let mut moved = answer(302, "").expect("an answer");
        let elsewhere = "http://elsewhere/".parse().expect("a value");
        moved.headers.insert(LOCATION, elsewhere);
        let found = asked(&server(vec![Ok(moved)]), 0).await;
        assert_eq!(
            found.expect_err("no").to_string(),
            "302 redirects to `http://elsewhere/`; give that address if it is meant"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_signed() {
        let server = server(vec![answer(200, "")]);
        let http = Http::new(server.clone());
        let signed = Call {
            secret: Some(Secret::new("key")),
            ..to("http://hook/x", 0)
        };
        call(&http, &signed).await.expect("yes");
        let asked = server.asked.lock().expect("lock");
        // printf '{"name":"app"}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            asked[0]
                .headers
                .get("x-signature")
                .and_then(|v| v.to_str().ok()),
            Some("sha256=f76f644bb8c6a7d59954872b642a87f39076d55e549f8311cc80d95b5a2245e4")
        );
    }

    #[tokio::test]
    async fn addresses_that_hand_out_credentials_are_not_called() {
        for url in [
            "http://169.254.169.254/latest",
            "http://[::ffff:169.254.169.254]/",
            "http://[fe80::1]/",
            "http://0.0.0.0/",
            "http://metadata.google.internal./",
        ] {
            let http = Http::new(Server::default());
            let found = call(&http, &to(url, 0)).await.expect_err(url);
            assert!(matches!(found, CallFailure::Forbidden { .. }), "{url}");
        }
    }
}
