//! Owns the cells of autoscalers: each metric as it is and as it should be.

use serde_json::Value;
use weir_object::path;

use super::row::Row;

/// The cells after the name.
pub(super) fn scaler(row: &Row<'_>) -> [Value; 6] {
    let target = format!(
        "{}/{}",
        row.text(&["spec", "scaleTargetRef", "kind"]),
        row.text(&["spec", "scaleTargetRef", "name"])
    );
    let least = row.get(&["spec", "minReplicas"]).and_then(Value::as_i64);
    [
        target.into(),
        metrics(row).into(),
        least
            .map_or_else(|| "<unset>".to_owned(), |n| n.to_string())
            .into(),
        row.number(&["spec", "maxReplicas"]).into(),
        row.number(&["status", "currentReplicas"]).into(),
        row.age(),
    ]
}

fn metrics(row: &Row<'_>) -> String {
    const MOST: usize = 2;
    let specs = row.list(&["spec", "metrics"]);
    if specs.is_empty() {
        return "<none>".to_owned();
    }
    let now = row.list(&["status", "currentMetrics"]);
    let all: Vec<String> = specs
        .iter()
        .enumerate()
        .map(|(i, spec)| metric(spec, now.get(i)))
        .collect();
    let shown = all.get(..MOST).unwrap_or(&all).join(", ");
    match all.len().checked_sub(MOST) {
        Some(more) if more > 0 => format!("{shown} + {more} more..."),
        _ => shown,
    }
}

fn metric(spec: &Value, now: Option<&Value>) -> String {
    let part = match path::text(spec, &["type"]) {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let target = |field| path::get(spec, &[part, "target", field]).filter(|v| !v.is_null());
    let current = |field| {
        let found = now.and_then(|now| path::get(now, &[part, "current", field]));
        found.filter(|v| !v.is_null())
    };
    let amount = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "0".to_owned(),
    };
    // A status without the value counts as none of it; no status at all is not known.
    let known = now.is_some_and(|now| now.get(part).is_some_and(|v| !v.is_null()));
    let is = |field| {
        if known {
            amount(current(field))
        } else {
            "<unknown>".to_owned()
        }
    };
    let average = target("averageValue");
    match part {
        "external" | "object" if average.is_some() => {
            let is =
                current("averageValue").map_or_else(|| "<unknown>".to_owned(), |v| amount(Some(v)));
            format!("{is}/{} (avg)", amount(average))
        }
        "external" | "object" => format!("{}/{}", is("value"), amount(target("value"))),
        "pods" => format!("{}/{}", is("averageValue"), amount(average)),
        _ => {
            let name = path::text(spec, &[part, "name"]);
            if average.is_some() {
                return format!("{name}: {}/{}", is("averageValue"), amount(average));
            }
            let percent = |value: Option<&Value>, other: &str| {
                value.map_or_else(|| other.to_owned(), |v| format!("{v}%"))
            };
            format!(
                "{name}: {}/{}",
                percent(current("averageUtilization"), "<unknown>"),
                percent(target("averageUtilization"), "<auto>")
            )
        }
    }
}
