//! Owns label selectors over policies. Pure.

use weir_api::{LabelSelector, LabelSelectorRequirement};
use weir_object::Object;

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// Whether the selector can be used, or why not.
pub(crate) fn check(selector: &LabelSelector) -> Result<(), String> {
    for one in &selector.match_expressions {
        let wants = matches!(one.operator.as_str(), "In" | "NotIn");
        if !OPERATORS.contains(&one.operator.as_str()) {
            return Err(format!(
                "`{}` is no operator; use one of {}",
                one.operator,
                OPERATORS.join(", ")
            ));
        }
        if wants == one.values.is_empty() {
            let word = if wants { "needs" } else { "takes no" };
            return Err(format!(
                "the operator `{}` of `{}` {word} values",
                one.operator, one.key
            ));
        }
    }
    Ok(())
}

/// Whether the selector, which passed [`check`], chooses the object. None chooses all.
pub(crate) fn chooses(selector: Option<&LabelSelector>, object: &Object) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    let mut labels = selector.match_labels.iter();
    labels.all(|(key, value)| object.label(key) == Some(value))
        && selector.match_expressions.iter().all(|e| holds(e, object))
}

fn holds(one: &LabelSelectorRequirement, object: &Object) -> bool {
    let value = object.label(&one.key);
    let among = || value.is_some_and(|value| one.values.iter().any(|v| v == value));
    match one.operator.as_str() {
        "In" => among(),
        "NotIn" => !among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn chosen(selector: &Value) -> Result<bool, String> {
        let object = Object(json!({"metadata": {"labels": {"app": "a", "tier": "web"}}}));
        let selector = serde_json::from_value(selector.clone()).expect("a selector");
        check(&selector)?;
        Ok(chooses(Some(&selector), &object))
    }

    #[test]
    fn selectors_choose_as_those_of_the_api() {
        let expression = |key: &str, operator: &str, values: &[&str]| {
            chosen(&json!({"matchExpressions":
                [{"key": key, "operator": operator, "values": values}]}))
        };
        assert_eq!(chosen(&json!({})), Ok(true));
        assert_eq!(chosen(&json!({"matchLabels": {"app": "a"}})), Ok(true));
        assert_eq!(chosen(&json!({"matchLabels": {"app": "b"}})), Ok(false));
        assert_eq!(expression("app", "In", &["a", "b"]), Ok(true));
        assert_eq!(expression("none", "In", &["a"]), Ok(false));
        assert_eq!(expression("none", "NotIn", &["a"]), Ok(true));
        assert_eq!(expression("app", "NotIn", &["a"]), Ok(false));
        assert_eq!(expression("tier", "Exists", &[]), Ok(true));
        assert_eq!(expression("tier", "DoesNotExist", &[]), Ok(false));
        for bad in [
            expression("a", "Is", &["b"]),
            expression("a", "In", &[]),
            expression("a", "Exists", &["b"]),
        ] {
            assert!(bad.is_err());
        }
    }
}
