//! Owns reading and matching a label selector over policies.

use weir_api::LabelSelector;
use weir_object::Object;

/// What is wrong with a selector, if anything.
pub(crate) fn problem(selector: &LabelSelector) -> Option<String> {
    selector.match_expressions.iter().find_map(|need| {
        let values = !need.values.is_empty();
        match need.operator.as_str() {
            "In" | "NotIn" if !values => Some(format!(
                "`{}` of `{}` needs values",
                need.operator, need.key
            )),
            "Exists" | "DoesNotExist" if values => Some(format!(
                "`{}` of `{}` takes no values",
                need.operator, need.key
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => None,
            other => Some(format!("`{other}` is no operator")),
        }
    })
}

/// Whether an object's labels match.
pub(crate) fn matches(selector: &LabelSelector, object: &Object) -> bool {
    let labels = selector
        .match_labels
        .iter()
        .all(|(key, value)| object.label(key) == Some(value));
    labels
        && selector.match_expressions.iter().all(|need| {
            let label = object.label(&need.key);
            let listed = label.is_some_and(|label| need.values.iter().any(|v| v == label));
            match need.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(selector: Value) -> Result<bool, String> {
        let selector: LabelSelector = serde_json::from_value(selector).expect("a selector");
        let object = Object(json!({"metadata": {"labels": {"team": "blue", "tier": "web"}}}));
        problem(&selector).map_or_else(|| Ok(matches(&selector, &object)), Err)
    }

    #[test]
    fn labels_are_matched_as_elsewhere() {
        let need = |operator: &str, values: Value| {
            told(json!({"matchExpressions": [
                {"key": "team", "operator": operator, "values": values}]}))
        };
        assert_eq!(told(json!({})), Ok(true));
        assert_eq!(told(json!({"matchLabels": {"team": "blue"}})), Ok(true));
        assert_eq!(told(json!({"matchLabels": {"team": "red"}})), Ok(false));
        assert_eq!(need("In", json!(["blue", "red"])), Ok(true));
        assert_eq!(need("NotIn", json!(["blue"])), Ok(false));
        assert_eq!(need("Exists", json!([])), Ok(true));
        assert_eq!(need("DoesNotExist", json!([])), Ok(false));
        assert!(need("In", json!([])).is_err());
        assert!(need("Exists", json!(["x"])).is_err());
        assert!(need("Like", json!(["x"])).is_err_and(|e| e.contains("`Like`")));
    }
}
