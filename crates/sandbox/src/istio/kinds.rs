//! Owns the definitions of Istio's kinds that are served: VirtualService and DestinationRule, true
//! in structure as far as this data plane reads them; what it does not read is kept as it is.

use serde_json::{Value, json};
use weir_object::Kind;

/// Virtual services.
pub(crate) const VIRTUAL_SERVICE: Kind = Kind::namespaced(
    "networking.istio.io",
    "v1",
    "VirtualService",
    "virtualservices",
);
/// Destination rules.
pub(crate) const DESTINATION_RULE: Kind = Kind::namespaced(
    "networking.istio.io",
    "v1",
    "DestinationRule",
    "destinationrules",
);

/// The definitions to install.
pub(crate) fn definitions() -> [Value; 2] {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let virtual_service = json!({
        "hosts": list(&text()),
        "gateways": list(&text()),
        "exportTo": list(&text()),
        "http": list(&http_route()),
        "tcp": list(&open),
        "tls": list(&open),
    });
    let subset = object(&json!({
        "name": text(),
        "labels": {"type": "object", "additionalProperties": text()},
        "trafficPolicy": open,
    }));
    let destination_rule = json!({
        "host": text(),
        "subsets": list(&subset),
        "trafficPolicy": open,
        "exportTo": list(&text()),
        "workloadSelector": open,
    });
    let columns = |first: Value| {
        json!([
            first,
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ])
    };
    let host = json!({"name": "Host", "type": "string", "jsonPath": ".spec.host"});
    let hosts = json!({"name": "Hosts", "type": "string", "jsonPath": ".spec.hosts"});
    let mut service_columns = columns(hosts);
    if let Some(all) = service_columns.as_array_mut() {
        let gateways = json!({"name": "Gateways", "type": "string", "jsonPath": ".spec.gateways"});
        all.insert(0, gateways);
    }
    [
        definition(&VIRTUAL_SERVICE, "vs", &virtual_service, &service_columns),
        definition(&DESTINATION_RULE, "dr", &destination_rule, &columns(host)),
    ]
}

fn definition(kind: &Kind, short: &str, spec: &Value, columns: &Value) -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let versions: Vec<Value> = ["v1", "v1beta1", "v1alpha3"]
        .into_iter()
        .map(|version| {
            json!({
                "name": version,
                "served": true,
                "storage": version == "v1",
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": object(&json!({
                    "spec": object(spec), "status": open,
                }))},
            })
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", kind.plural, kind.group)},
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.kind,
                "listKind": format!("{}List", kind.kind),
                "plural": kind.plural,
                "singular": kind.kind.to_lowercase(),
                "shortNames": [short],
                "categories": ["istio-io", "networking-istio-io"],
            },
            "scope": "Namespaced",
            "versions": versions,
        },
    })
}

fn object(properties: &Value) -> Value {
    json!({"type": "object", "properties": properties})
}

fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

fn map(values: &Value) -> Value {
    json!({"type": "object", "additionalProperties": values})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn whole(maximum: u32) -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": maximum})
}

/// One of exact, prefix and regex; nothing means presence.
fn string_match() -> Value {
    object(&json!({"exact": text(), "prefix": text(), "regex": text()}))
}

fn destination() -> Value {
    let mut out = object(&json!({
        "host": text(),
        "subset": text(),
        "port": object(&json!({"number": whole(65_535)})),
    }));
    out["required"] = json!(["host"]);
    out
}

fn headers() -> Value {
    let change = object(&json!({
        "set": map(&text()), "add": map(&text()), "remove": list(&text()),
    }));
    object(&json!({"request": change, "response": change}))
}

fn percentage() -> Value {
    object(&json!({"value": {"type": "number", "format": "double"}}))
}

fn http_route() -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let wanted = object(&json!({
        "name": text(),
        "uri": string_match(),
        "scheme": string_match(),
        "method": string_match(),
        "authority": string_match(),
        "headers": map(&string_match()),
        "withoutHeaders": map(&string_match()),
        "queryParams": map(&string_match()),
        "port": whole(65_535),
        "ignoreUriCase": {"type": "boolean"},
        "gateways": list(&text()),
        "sourceLabels": map(&text()),
        "sourceNamespace": text(),
        "statPrefix": text(),
    }));
    let mut weighted = object(&json!({
        "destination": destination(), "weight": {"type": "integer", "format": "int32"},
        "headers": headers(),
    }));
    weighted["required"] = json!(["destination"]);
    let expression = object(&json!({"match": text(), "rewrite": text()}));
    object(&json!({
        "name": text(),
        "match": list(&wanted),
        "route": list(&weighted),
        "redirect": object(&json!({
            "uri": text(), "authority": text(), "port": whole(65_535), "derivePort":
            {"type": "string", "enum": ["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]},
            "scheme": text(), "redirectCode": whole(999), "uriRegexRewrite": expression,
        })),
        "directResponse": object(&json!({"status": whole(999), "body": object(&json!({
            "string": text(), "bytes": {"type": "string", "format": "byte"},
        }))})),
        "delegate": object(&json!({"name": text(), "namespace": text()})),
        "rewrite": object(&json!({
            "uri": text(), "authority": text(), "uriRegexRewrite": expression,
        })),
        "timeout": text(),
        "retries": object(&json!({
            "attempts": {"type": "integer", "format": "int32"}, "perTryTimeout": text(),
            "retryOn": text(), "backoff": text(), "retryRemoteLocalities": {"type": "boolean", "nullable": true},
            "retryIgnorePreviousHosts": {"type": "boolean", "nullable": true},
        })),
        "fault": object(&json!({"delay": open, "abort": open})),
        "mirror": destination(),
        "mirrorPercent": json!({"type": "integer", "nullable": true, "minimum": 0}),
        "mirror_percent": json!({"type": "integer", "nullable": true, "minimum": 0}),
        "mirrorPercentage": percentage(),
        "mirrors": list(&object(&json!({"destination": destination(), "percentage": percentage()}))),
        "corsPolicy": object(&json!({
            "allowOrigin": list(&text()), "allowOrigins": list(&string_match()), "allowMethods": list(&text()),
            "allowHeaders": list(&text()), "exposeHeaders": list(&text()), "maxAge": text(),
            "allowCredentials": {"type": "boolean", "nullable": true},
            "unmatchedPreflights": {"type": "string", "enum": ["UNSPECIFIED", "FORWARD", "IGNORE"]},
        })),
        "headers": headers(),
    }))
}
