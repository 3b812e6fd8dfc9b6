//! Owns readiness: asking a container whether it is ready, as its probe says.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use url::Url;
use weir_runtime::http::{Http, Request};

/// How a container is asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    url: Option<Url>,
    /// Between two questions once it is ready.
    pub(crate) period: Duration,
    timeout: Duration,
    /// Failures in a row that make a ready container unready.
    pub(crate) failures: u32,
}

impl Probe {
    /// The readiness probe of a container at `address`. Without an HTTP probe a running container
    /// counts as ready: other kinds of probes are not asked here.
    pub(crate) fn of(container: &Value, address: IpAddr) -> Self {
        let probe = &container["readinessProbe"];
        let seconds = |field: &str, default| {
            Duration::from_secs(probe[field].as_u64().filter(|s| *s > 0).unwrap_or(default))
        };
        let get = &probe["httpGet"];
        let port = match &get["port"] {
            Value::Number(n) => n.as_u64().and_then(|n| u16::try_from(n).ok()),
            Value::String(name) => port_named(container, name),
            _ => None,
        };
        let path = get["path"].as_str().unwrap_or("/");
        Self {
            url: port.and_then(|port| Url::parse(&format!("http://{address}:{port}{path}")).ok()),
            period: seconds("periodSeconds", 10),
            timeout: seconds("timeoutSeconds", 1),
            failures: probe["failureThreshold"]
                .as_u64()
                .map_or(3, |n| n.clamp(1, 100) as u32),
        }
    }

    /// Whether a running container counts as ready without being asked.
    pub(crate) fn asks_nothing(&self) -> bool {
        self.url.is_none()
    }

    /// Whether the container says it is ready.
    pub(crate) async fn ask(&self, http: &Http) -> bool {
        let Some(url) = &self.url else { return true };
        match http
            .send(Request::get(url.clone()).timeout(self.timeout))
            .await
        {
            Ok(response) => (200..400).contains(&response.status.as_u16()),
            Err(_) => false,
        }
    }
}

/// The number of the container's port of this name.
pub(crate) fn port_named(container: &Value, name: &str) -> Option<u16> {
    let ports = container["ports"].as_array()?;
    let port = ports.iter().find(|p| p["name"].as_str() == Some(name))?;
    u16::try_from(port["containerPort"].as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn named_ports_are_found() {
        let container = json!({
            "ports": [{"name": "http", "containerPort": 9898}],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 2},
        });
        let probe = Probe::of(&container, IpAddr::from([127, 0, 0, 7]));
        assert_eq!(
            probe.url.map(String::from),
            Some("http://127.0.0.7:9898/readyz".into())
        );
        assert_eq!((probe.period, probe.failures), (Duration::from_secs(2), 3));
        assert_eq!(
            Probe::of(&json!({}), IpAddr::from([127, 0, 0, 7])).url,
            None
        );
    }
}
