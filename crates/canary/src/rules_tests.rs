use serde_json::from_value;

use super::*;

fn names() -> Names {
    Names::sample("c", "app", "app")
}

fn made(service: Value, analysis: Value, to: &Traffic) -> Value {
    with(service, analysis, |rules| Value::Array(rules.of(to)))
}

fn with<T>(service: Value, analysis: Value, run: impl FnOnce(Rules<'_>) -> T) -> T {
    let mut service = service;
    service["port"] = 80.into();
    run(Rules {
        service: &from_value(service).expect("a service"),
        analysis: &from_value(analysis).expect("an analysis"),
        names: &names(),
    })
}

fn backends(primary: u8, canary: u8) -> Value {
    json!([
        {"group": "", "kind": "Service", "name": "app-primary", "port": 80, "weight": primary},
        {"group": "", "kind": "Service", "name": "app-canary", "port": 80, "weight": canary},
    ])
}

fn everything() -> Value {
    json!([{"path": {"type": "PathPrefix", "value": "/"}}])
}

#[test]
fn a_share_of_everything() {
    assert_eq!(
        made(json!({}), json!({}), &Traffic::canary(20)),
        json!([{"matches": everything(), "backendRefs": backends(80, 20)}])
    );
}

#[test]
fn copies_go_to_the_canary_and_its_answers_to_nobody() {
    let to = Traffic {
        mirror: true,
        ..Traffic::canary(0)
    };
    assert_eq!(
        made(json!({}), json!({}), &to),
        json!([{
            "matches": everything(), "backendRefs": backends(100, 0),
            "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef":
                {"group": "", "kind": "Service", "name": "app-canary", "port": 80}}}],
        }])
    );
}

#[test]
fn t02_only_matching_requests_reach_the_canary() {
    let to = Traffic {
        matched: true,
        ..Traffic::canary(100)
    };
    let service =
        json!({"match": [{"uri": {"prefix": "/shop"}, "headers": {"x-site": {"exact": "a"}}}]});
    let analysis = json!({"match": [
        {"headers": {"x-user": {"prefix": "beta."}, "X-Site": {"exact": "b"}}},
        {"queryParams": {"insider": {"regex": "1|yes"}}},
    ]});
    let primary = json!([
        {"group": "", "kind": "Service", "name": "app-primary", "port": 80, "weight": 100}]);
    let path = json!({"type": "PathPrefix", "value": "/shop"});
    assert_eq!(
        made(service, analysis, &to),
        json!([
            {"matches": [
                {"path": path, "headers": [
                    {"type": "Exact", "name": "X-Site", "value": "b"},
                    {"type": "RegularExpression", "name": "x-user", "value": "^beta\\..*$"}]},
                {"path": path, "headers": [{"type": "Exact", "name": "x-site", "value": "a"}],
                 "queryParams": [
                    {"type": "RegularExpression", "name": "insider", "value": "1|yes"}]},
            ], "backendRefs": backends(0, 100)},
            {"matches": [{"path": path,
                "headers": [{"type": "Exact", "name": "x-site", "value": "a"}]}],
             "backendRefs": primary},
        ])
    );
}

#[test]
fn a_user_stays_where_a_cookie_says() {
    let analysis = json!({"interval": "30s", "sessionAffinity": {
        "cookieName": "side", "primaryCookieName": "main", "maxAge": 3600, "path": "/",
        "secure": true, "sameSite": "Strict"}});
    let to = Traffic {
        cookies: Some(Cookies {
            canary: Some("side=abc".into()),
            previous: Some("side=old".into()),
            primary: Some("main=xyz".into()),
        }),
        ..Traffic::canary(10)
    };
    let cookie = |pattern: &str| {
        json!([{"path": {"type": "PathPrefix", "value": "/"}, "headers": [
            {"type": "RegularExpression", "name": "Cookie", "value": pattern}]}])
    };
    let sets = |value: &str| {
        json!([{"type": "ResponseHeaderModifier", "responseHeaderModifier": {
            "add": [{"name": "Set-Cookie", "value": value}]}}])
    };
    let mut weighted = backends(90, 10);
    weighted[0]["filters"] = sets("main=xyz; Max-Age=30; Path=/; SameSite=Strict; Secure");
    weighted[1]["filters"] = sets("side=abc; Max-Age=3600; Path=/; SameSite=Strict; Secure");
    assert_eq!(
        made(json!({}), analysis.clone(), &to),
        json!([
            {"matches": cookie(".*side.*abc.*"), "backendRefs": backends(0, 100)},
            {"matches": cookie(".*main.*xyz.*"), "backendRefs": backends(100, 0)},
            {"matches": everything(), "backendRefs": weighted},
        ])
    );
    let over = Traffic {
        canary: 0,
        cookies: Some(Cookies {
            previous: Some("side=old".into()),
            ..Cookies::default()
        }),
        ..to
    };
    assert_eq!(
        made(json!({}), analysis.clone(), &over),
        json!([
            {"matches": cookie(".*side.*old.*"), "backendRefs": backends(100, 0),
             "filters": sets("side=old; Max-Age=-1; Path=/; SameSite=Strict; Secure")},
            {"matches": everything(), "backendRefs": backends(100, 0)},
        ])
    );
    let never = Traffic {
        cookies: Some(Cookies::default()),
        ..over
    };
    assert_eq!(
        made(json!({}), analysis, &never),
        json!([{"matches": everything(), "backendRefs": backends(100, 0)}])
    );
}

#[test]
fn r22_a_cookies_text_is_no_pattern() {
    assert_eq!(escaped("a.b*[c]"), "a\\.b\\*\\[c\\]");
}

#[test]
fn t05_filters_stand_in_one_order() {
    let service = json!({
        "timeout": "5s", "backendTimeout": "2s",
        "headers": {
            "request": {"add": {"b": "2", "a": "1"}, "remove": ["c"]},
            "response": {"set": {"d": "4"}},
        },
        "rewrite": {"uri": "/v2", "authority": "app.example.com", "type": "ReplacePrefixMatch"},
        "mirror": [{"backendRef": {"name": "shadow", "port": 81}}],
        "corsPolicy": {"allowOrigin": ["https://a.example.com"], "allowMethods": ["GET"],
            "allowCredentials": true, "maxAge": "24h"},
    });
    let rules = made(service, json!({}), &Traffic::canary(0));
    assert_eq!(
        rules[0]["filters"],
        json!([
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {
                "add": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}],
                "remove": ["c"]}},
            {"type": "ResponseHeaderModifier",
             "responseHeaderModifier": {"set": [{"name": "d", "value": "4"}]}},
            {"type": "URLRewrite", "urlRewrite": {"hostname": "app.example.com",
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v2"}}},
            {"type": "RequestMirror", "requestMirror": {"backendRef":
                {"group": "", "kind": "Service", "name": "shadow", "port": 81}}},
            {"type": "CORS", "cors": {"allowOrigins": ["https://a.example.com"],
                "allowMethods": ["GET"], "allowCredentials": true, "maxAge": 86400}},
        ])
    );
    assert_eq!(
        rules[0]["timeouts"],
        json!({"request": "5s", "backendRequest": "2s"})
    );
}

#[test]
fn t02_what_cannot_be_matched_is_refused_by_name() {
    for (service, analysis, field) in [
        (
            json!({"match": [{"sourceLabels": {"a": "b"}}]}),
            json!({}),
            "service.match[0].sourceLabels",
        ),
        (
            json!({"match": [{"headers": {"a": {"prefix": "b"}}}]}),
            json!({}),
            "service.match[0].headers",
        ),
        (
            json!({}),
            json!({"match": [{"sourceLabels": {"a": "b"}}]}),
            "analysis.match[0].sourceLabels",
        ),
        (
            json!({}),
            json!({"match": [{"headers": {"a": {"exact": "b"}}}, {}]}),
            "analysis.match[1]",
        ),
        (
            json!({}),
            json!({"match": [{"headers": {"a": {}}}]}),
            "analysis.match[0]",
        ),
        (
            json!({"corsPolicy": {"maxAge": "1d"}}),
            json!({}),
            "service.corsPolicy.maxAge",
        ),
    ] {
        let refused = with(service, analysis, |rules| rules.refusal());
        assert_eq!(refused.map(|r| r.field).as_deref(), Some(field));
    }
}
