//! Owns reading what a VirtualService asks for beside where a request goes: faults, retries, and
//! answers to other origins.

use std::time::Duration;

use serde_json::Value;

use super::matching::Text;
use super::mesh_retry;
use super::model::{Abort, Cors, Fault, Retry, RetryOn, Share, Unsupported};
use super::read_virtual::{duration, status, string_match};
use super::reading::{items, only};

pub(super) fn read_fault(value: &Value, at: &str) -> Result<Fault, Unsupported> {
    only(value, at, &["delay", "abort"])?;
    // A fault without a percentage befalls nobody, as Istio has it.
    let share = |of: &Value| {
        let old = of["percent"].as_f64();
        Share::percent(
            of["percentage"]["value"]
                .as_f64()
                .or(old)
                .unwrap_or_default(),
        )
    };
    let delay = match value.get("delay") {
        None => None,
        Some(delay) => {
            let at = format!("{at}.delay");
            only(delay, &at, &["fixedDelay", "percentage", "percent"])?;
            let time = duration(&delay["fixedDelay"], &format!("{at}.fixedDelay"))?;
            let time = time.ok_or_else(|| Unsupported::new(&at, "a delay without fixedDelay"))?;
            Some((time, share(delay)))
        }
    };
    let abort = match value.get("abort") {
        None => None,
        Some(abort) => {
            let at = format!("{at}.abort");
            only(
                abort,
                &at,
                &["httpStatus", "grpcStatus", "percentage", "percent"],
            )?;
            let what = match abort["grpcStatus"].as_str() {
                Some(name) => Abort::Grpc(grpc_code(name).ok_or_else(|| {
                    Unsupported::new(format!("{at}.grpcStatus"), format!("the status `{name}`"))
                })?),
                None => Abort::Http(status(&abort["httpStatus"], &format!("{at}.httpStatus"))?),
            };
            Some((what, share(abort)))
        }
    };
    Ok(Fault { delay, abort })
}

/// The number of a gRPC status by its name.
fn grpc_code(name: &str) -> Option<u32> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let at = NAMES.iter().position(|n| *n == name)?;
    u32::try_from(at).ok()
}

pub(super) fn retries(
    value: Option<&Value>,
    at: &str,
) -> Result<(Retry, Option<Duration>), Unsupported> {
    let Some(value) = value else {
        return Ok((mesh_retry(), None));
    };
    only(
        value,
        at,
        &[
            "attempts",
            "perTryTimeout",
            "retryOn",
            "backoff",
            "retryRemoteLocalities",
            "retryIgnorePreviousHosts",
        ],
    )?;
    let attempts = value["attempts"].as_u64().unwrap_or_default();
    let mut retry = Retry {
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        backoff: duration(&value["backoff"], &format!("{at}.backoff"))?,
        on: RetryOn::default(),
    };
    match value["retryOn"].as_str().filter(|o| !o.is_empty()) {
        None => retry.on = mesh_retry().on,
        Some(words) => {
            for word in words.split(',').map(str::trim) {
                retry_word(word, &mut retry.on, &format!("{at}.retryOn"))?;
            }
        }
    }
    let attempt = duration(&value["perTryTimeout"], &format!("{at}.perTryTimeout"))?;
    Ok((retry, attempt.filter(|a| !a.is_zero())))
}

fn retry_word(word: &str, on: &mut RetryOn, at: &str) -> Result<(), Unsupported> {
    match word {
        "5xx" => on.server = true,
        "gateway-error" => {
            (on.connect, on.reset, on.timeout) = (true, true, true);
            on.statuses.extend([502, 503, 504]);
        }
        "connect-failure" | "refused-stream" => on.connect = true,
        "reset" | "reset-before-request" => (on.connect, on.reset) = (true, true),
        "retriable-4xx" => on.statuses.push(409),
        "retriable-status-codes" => on.statuses.push(503),
        "cancelled" => on.grpc.push(1),
        "deadline-exceeded" => on.grpc.push(4),
        "resource-exhausted" => on.grpc.push(8),
        "internal" => on.grpc.push(13),
        "unavailable" => on.grpc.push(14),
        other => match other.parse() {
            Ok(code) if (400..600).contains(&code) => on.statuses.push(code),
            _ => return Err(Unsupported::new(at, format!("a retry on `{other}`"))),
        },
    }
    Ok(())
}

pub(super) fn read_cors(value: &Value, at: &str) -> Result<Cors, Unsupported> {
    let texts = |k: &str| -> Vec<String> {
        let all = items(value.get(k)).filter_map(Value::as_str);
        all.map(str::to_owned).collect()
    };
    let mut origins = Vec::new();
    for (i, origin) in items(value.get("allowOrigins")).enumerate() {
        let origin = string_match(origin, &format!("{at}.allowOrigins[{i}]"), false)?;
        origins.push(match origin {
            Text::Exact(all) if all == "*" => Text::Present,
            other => other,
        });
    }
    for origin in texts("allowOrigin") {
        origins.push(if origin == "*" {
            Text::Present
        } else {
            Text::Exact(origin)
        });
    }
    let age = duration(&value["maxAge"], &format!("{at}.maxAge"))?;
    Ok(Cors {
        origins,
        methods: texts("allowMethods"),
        headers: texts("allowHeaders"),
        expose: texts("exposeHeaders"),
        max_age: age.map(|a| a.as_secs()),
        credentials: value["allowCredentials"].as_bool().unwrap_or_default(),
        forward_unmatched: value["unmatchedPreflights"].as_str() != Some("IGNORE"),
    })
}
