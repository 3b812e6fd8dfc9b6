//! The queries: their text, and what an answer means.

use super::*;
use serde_json::json;

fn names() -> Names {
    Names::sample("c", "app", "web")
}

fn metric(name: &str) -> Metric {
    Metric {
        name: name.into(),
        interval: Some("30s".into()),
        ..Metric::default()
    }
}

#[test]
fn r20_a_query_never_has_an_empty_interval() {
    for interval in [None, Some("")] {
        let metric = Metric {
            interval: interval.map(|i| GoDuration(i.to_owned())),
            ..metric("m")
        };
        let query = render("rate(x[{{ interval }}])", &names(), &metric);
        assert_eq!(query.as_deref(), Ok("rate(x[1m])"));
    }
}

#[test]
fn a_daemon_sets_pods_are_found_and_its_primarys_are_not() {
    let mut spec = Spec::default();
    assert!(about(COUNT, &spec).contains(PODS));
    spec.target_ref.kind = weir_api::canary::TargetKind::DaemonSet;
    let metric = metric("request-success-rate");
    let query = render(&about(COUNT, &spec), &names(), &metric).expect("renders");
    // Anchored: the primary's pods have one part more.
    assert!(query.contains(r#"pod_name=~"app-[0-9a-zA-Z]+""#), "{query}");
}

#[test]
fn built_in_queries_are_the_known_ones() {
    let text = |name: &str| {
        let metric = metric(name);
        let (query, ..) = built_in(&metric).expect("built in");
        let query = render(&query.replace("PODS", PODS), &names(), &metric).expect("renders");
        query.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let pods =
        r#"kubernetes_namespace="demo",kubernetes_pod_name=~"app-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)""#;
    assert_eq!(
        text("request-success-rate"),
        format!(
            "sum(rate(http_request_duration_seconds_count{{{pods},status!~\"5.*\"}}[30s])) / \
             sum(rate(http_request_duration_seconds_count{{{pods}}}[30s])) * 100"
        )
    );
    assert_eq!(
        text("request-duration"),
        format!(
            "histogram_quantile(0.99, sum(rate( \
             http_request_duration_seconds_bucket{{{pods}}}[30s])) by (le))"
        )
    );
    assert_eq!(built_in(&metric("errors")), None);
}

#[test]
fn templates_know_the_canarys_names_and_refuse_what_they_do_not_know() {
    let mut metric = metric("m");
    metric
        .template_variables
        .insert("code".into(), "5..".into());
    let query = r"{{ name }} {{ namespace }} {{ target }} {{ service }} {{ ingress }} {{ route }} \
        {{ interval }} {{ variables.code }}";
    let rendered = render(query, &names(), &metric).expect("renders");
    assert!(rendered.starts_with("c demo app web app app"), "{rendered}");
    assert!(rendered.ends_with("30s 5.."), "{rendered}");
    for unknown in [
        "{{ variables.other }}",
        "{{ nothing }}",
        "{{ .Name }}",
        "{{",
    ] {
        assert!(render(unknown, &names(), &metric).is_err(), "{unknown}");
    }
}

#[test]
fn ranges_win_over_the_older_threshold() {
    let both = |min, max| Rule { min, max };
    let mut old = metric("m");
    old.threshold = Some(99.0);
    assert_eq!(rule(&old, Judge::SuccessRate), both(Some(99.0), None));
    assert_eq!(rule(&old, Judge::Duration), both(None, Some(99.0)));
    assert_eq!(rule(&metric("m"), Judge::Number), both(None, Some(0.0)));
    old.threshold_range = Some(weir_api::canary::ThresholdRange {
        min: None,
        max: Some(1.5),
    });
    assert_eq!(rule(&old, Judge::SuccessRate), both(None, Some(1.5)));
}

#[test]
fn answers_are_told_apart() {
    let vector = |values: &[&str]| {
        let result: Vec<Value> = values
            .iter()
            .map(|v| json!({"metric": {}, "value": [1.5, v]}))
            .collect();
        json!({"status": "success", "warnings": ["w"],
            "data": {"resultType": "vector", "result": result}})
    };
    let none = Ok(Answer::NoData(vec!["w".into()]));
    let ask = |status: u16, answer: &Value| read(status, answer.to_string().as_bytes());
    assert_eq!(
        ask(200, &vector(&["99.5"])),
        Ok(Answer::Value(99.5, vec!["w".into()]))
    );
    assert_eq!(ask(200, &vector(&[])), none);
    assert_eq!(ask(200, &vector(&["NaN"])), none);
    let scalar = json!({"status": "success",
        "data": {"resultType": "scalar", "result": [1.0, "2"]}});
    assert_eq!(ask(200, &scalar), Ok(Answer::Value(2.0, vec![])));
    let matrix = json!({"status": "success",
        "data": {"resultType": "matrix", "result": []}});
    let refused = json!({"status": "error", "errorType": "bad_data", "error": "parse"});
    for (status, answer, part) in [
        (200, vector(&["1", "2"]), "2 series"),
        (200, vector(&["+Inf"]), "infinite"),
        (200, matrix, "range"),
        (400, refused, "status 400 bad_data: parse"),
        (502, json!("oops"), "status 502"),
        (200, json!({"status": "success"}), "can't be read"),
    ] {
        let why = ask(status, &answer).expect_err("no value");
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn addresses_keep_their_path() {
    let text = |a: &str| address(a).map(|u| u.to_string());
    assert_eq!(
        text("http://p:9090"),
        Ok("http://p:9090/api/v1/query".into())
    );
    assert_eq!(
        text("https://p/tenant/"),
        Ok("https://p/tenant/api/v1/query".into())
    );
    assert!(text("prometheus").is_err());
}
