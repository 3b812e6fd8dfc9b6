//! Owns what Go's typed decoding does to a built-in object: unknown fields are dropped and named,
//! nulls vanish, wrong types are refused. It refuses judgement of values.

use serde_json::Value;
use weir_schema::{Scalar, TypeRef};

/// A field of the wrong type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) path: String,
    pub(crate) found: &'static str,
    pub(crate) wanted: &'static str,
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Shapes a value to its type. Unknown fields are removed and named in `unknown`.
pub(crate) fn shape(
    value: &mut Value,
    ty: &TypeRef,
    unknown: &mut Vec<String>,
) -> Result<(), Mismatch> {
    walk(value, ty, "", unknown)
}

fn walk(
    value: &mut Value,
    ty: &TypeRef,
    path: &str,
    unknown: &mut Vec<String>,
) -> Result<(), Mismatch> {
    if ty.is_untyped() {
        return Ok(());
    }
    let wrong = |value: &Value, wanted| {
        Err(Mismatch {
            path: path.to_owned(),
            found: found(value),
            wanted,
        })
    };
    if let Some(map_type) = ty.map() {
        let Value::Object(map) = value else {
            return wrong(value, "object");
        };
        if map.values().any(Value::is_null) {
            map.retain(|_, value| !value.is_null());
        }
        if map_type.fields.is_empty() && map_type.additional.is_none() {
            return Ok(());
        }
        let mut gone = Vec::new();
        for (name, value) in map.iter_mut() {
            let at = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            match ty.field(name) {
                Some(of) => walk(value, &of, &at, unknown)?,
                None => gone.push((name.clone(), at)),
            }
        }
        for (name, at) in gone {
            map.shift_remove(&name);
            unknown.push(at);
        }
        return Ok(());
    }
    if ty.list().is_some() {
        let Value::Array(items) = value else {
            return wrong(value, "array");
        };
        let Some(of) = ty.item() else { return Ok(()) };
        for (i, item) in items.iter_mut().enumerate() {
            walk(item, &of, &format!("{path}[{i}]"), unknown)?;
        }
        return Ok(());
    }
    // A quantity may be written as a number; it is kept as text.
    if ty.name().is_some_and(|n| n.ends_with(".Quantity")) && value.is_number() {
        *value = Value::String(value.to_string());
        return Ok(());
    }
    let (good, wanted) = match ty.scalar() {
        Some(Scalar::String | Scalar::DateTime | Scalar::Bytes) => (value.is_string(), "string"),
        Some(Scalar::IntOrString) => (value.is_string() || value.is_i64(), "int or string"),
        Some(Scalar::Integer) => {
            if let Some(number) = value
                .as_f64()
                .filter(|f| value.is_f64() && f.fract() == 0.0)
            {
                *value = Value::from(number as i64);
            }
            (value.is_i64() || value.is_u64(), "int")
        }
        Some(Scalar::Number) => (value.is_number(), "float"),
        Some(Scalar::Boolean) => (value.is_boolean(), "bool"),
        Some(Scalar::Untyped) | None => (true, ""),
    };
    if good { Ok(()) } else { wrong(value, wanted) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use weir_schema::Schema;

    #[test]
    fn a_deployment_is_shaped_as_go_would() {
        let ty = Schema::builtin()
            .type_of("apps", "v1", "Deployment")
            .expect("known");
        let mut value = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "creationTimestamp": null, "labels": {"x": "y"}},
            "spec": {"replicas": 2.0, "odd": 1, "template": {"spec": {"containers": [
                {"name": "c", "wrong": {}, "resources": {"limits": {"cpu": 1}}}]}}}
        });
        let mut unknown = Vec::new();
        assert_eq!(shape(&mut value, &ty, &mut unknown), Ok(()));
        assert_eq!(
            unknown,
            ["spec.template.spec.containers[0].wrong", "spec.odd"]
        );
        assert_eq!(value["spec"]["replicas"], json!(2));
        assert_eq!(
            value["metadata"],
            json!({"name": "a", "labels": {"x": "y"}})
        );
        let limits = &value["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(limits, &json!({"cpu": "1"}));
        let mut bad = json!({"spec": {"replicas": "two"}});
        let mismatch = shape(&mut bad, &ty, &mut unknown);
        let expected = Mismatch {
            path: "spec.replicas".into(),
            found: "string",
            wanted: "int",
        };
        assert_eq!(mismatch, Err(expected));
    }
}
