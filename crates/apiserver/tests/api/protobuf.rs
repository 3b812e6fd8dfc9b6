//! Owns the tests of protocol buffers. What Go wrote is kept in `corpus/protobuf.jsonl`; how it is
//! made again is told in `tests/go/README.md`.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{MAPS, config_map, post, send_with, server};

const MEDIA: &str = "application/vnd.kubernetes.protobuf";

struct Case {
    bytes: Vec<u8>,
    object: Value,
}

static CORPUS: LazyLock<Vec<Case>> = LazyLock::new(|| {
    include_str!("../corpus/protobuf.jsonl")
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).expect("a row");
            let text = row["pb"].as_str().expect("a text");
            Case {
                bytes: STANDARD.decode(text).expect("base64"),
                object: row["json"].clone(),
            }
        })
        .collect()
});

#[test]
fn go_and_this_server_read_the_same_from_the_same_bytes() {
    assert!(CORPUS.len() > 300);
    for case in CORPUS.iter() {
        let read = weir_apiserver::protobuf_to_json(&case.bytes).expect("readable");
        assert_eq!(read, case.object, "{}", case.object["kind"]);
    }
}

#[test]
fn go_and_this_server_write_the_same_bytes() {
    for case in CORPUS.iter() {
        let written = weir_apiserver::json_to_protobuf(&case.object).expect("a known kind");
        if written == case.bytes {
            continue;
        }
        // JSON may be written in another order of keys, so the proof is what is read from it.
        let again = weir_apiserver::protobuf_to_json(&written).expect("readable");
        assert_eq!(again, case.object, "{}", case.object["kind"]);
        let embeds = case.object.to_string().contains("{\"a\":[1,2.5");
        assert!(embeds, "{} differs\n{}", case.object["kind"], case.object);
    }
}

fn bytes_of(object: &Value) -> Vec<u8> {
    weir_apiserver::json_to_protobuf(object).expect("a known kind")
}

fn object_of(bytes: &[u8]) -> Value {
    weir_apiserver::protobuf_to_json(bytes).expect("readable")
}

struct Raw {
    code: u16,
    content: String,
    body: Vec<u8>,
}

async fn ask(
    server: &weir_apiserver::ApiServer,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Raw {
    let response = send_with(server, method, path, headers, body).await;
    let content = response.headers().get("content-type");
    let content = content.and_then(|v| v.to_str().ok()).unwrap_or_default();
    Raw {
        code: response.status().as_u16(),
        content: content.to_owned(),
        body: response
            .into_body()
            .collect()
            .await
            .expect("infallible")
            .to_bytes()
            .to_vec(),
    }
}

#[tokio::test(start_paused = true)]
async fn objects_come_and_go_in_protocol_buffers() {
    let server = server();
    let both = [("content-type", MEDIA), ("accept", MEDIA)];
    let map = config_map("a", &json!({"x": "1"}));
    let made = ask(&server, Method::POST, MAPS, &both, bytes_of(&map)).await;
    assert_eq!((made.code, made.content.as_str()), (201, MEDIA));
    let made = object_of(&made.body);
    assert_eq!(made["kind"], "ConfigMap");
    assert_eq!(made["data"], json!({"x": "1"}));
    assert_ne!(made["metadata"]["uid"], Value::Null);
    let list = ask(&server, Method::GET, MAPS, &both[1..], Vec::new()).await;
    let list = object_of(&list.body);
    assert_eq!(list["kind"], "ConfigMapList");
    assert_eq!(list["items"][0]["data"], json!({"x": "1"}));
    // Clients that accept more than one form get the first that there is.
    let wishes = [(
        "accept",
        "application/json;q=0.1, application/vnd.kubernetes.protobuf",
    )];
    let one = ask(
        &server,
        Method::GET,
        &format!("{MAPS}/a"),
        &wishes,
        Vec::new(),
    )
    .await;
    assert_eq!(object_of(&one.body), made);
    let partial = [(
        "accept",
        "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    )];
    let one = ask(
        &server,
        Method::GET,
        &format!("{MAPS}/a"),
        &partial,
        Vec::new(),
    )
    .await;
    let one = object_of(&one.body);
    assert_eq!(one["kind"], "PartialObjectMetadata");
    assert_eq!(one["metadata"], made["metadata"]);
    let missing = ask(
        &server,
        Method::GET,
        &format!("{MAPS}/b"),
        &both[1..],
        Vec::new(),
    )
    .await;
    assert_eq!((missing.code, missing.content.as_str()), (404, MEDIA));
    let missing = object_of(&missing.body);
    assert_eq!(missing["message"], "configmaps \"b\" not found");
    let options =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "x"}});
    let path = format!("{MAPS}/a");
    let refused = ask(&server, Method::DELETE, &path, &both, bytes_of(&options)).await;
    assert_eq!(refused.code, 409);
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
    let gone = ask(&server, Method::DELETE, &path, &both, bytes_of(&options)).await;
    assert_eq!(gone.code, 200);
    assert_eq!(object_of(&gone.body)["status"], "Success");
}

#[tokio::test(start_paused = true)]
async fn a_watch_comes_in_frames() {
    let server = server();
    let map = config_map("a", &json!({"x": "1"}));
    post(&server, MAPS, &map).await;
    let path = format!("{MAPS}?watch=1&resourceVersion=0&timeoutSeconds=1");
    let accept = [("accept", MEDIA)];
    let watch = ask(&server, Method::GET, &path, &accept, Vec::new()).await;
    assert_eq!(watch.content, format!("{MEDIA};stream=watch"));
    let (length, event) = watch.body.split_at(4);
    assert_eq!(
        u32::from_be_bytes(length.try_into().expect("four")) as usize,
        event.len()
    );
    // The event's word, then the object in an envelope of its own.
    assert!(event.starts_with(b"\x0a\x05ADDED\x12"));
    let start = event
        .windows(4)
        .position(|w| w == b"k8s\0")
        .expect("an envelope");
    let object = object_of(&event[start..]);
    assert_eq!(object["data"], json!({"x": "1"}));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_served_in_a_form_is_said_as_the_real_server_says_it() {
    let server = server();
    let message = |raw: &Raw| {
        let status: Value = serde_json::from_slice(&raw.body).expect("JSON");
        assert_eq!(status["code"], raw.code);
        status["message"].as_str().unwrap_or_default().to_owned()
    };
    let accept = |text| [("accept", text)];
    let odd = ask(
        &server,
        Method::GET,
        MAPS,
        &accept("application/xx"),
        vec![],
    )
    .await;
    assert_eq!(
        message(&odd),
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf, application/json;stream=watch, \
         application/vnd.kubernetes.protobuf;stream=watch"
    );
    let table = "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1";
    let table = ask(&server, Method::GET, MAPS, &accept(table), vec![]).await;
    assert_eq!(
        message(&table),
        "only the following media types are accepted: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf"
    );
    let yaml = ask(
        &server,
        Method::GET,
        MAPS,
        &accept("application/yaml"),
        vec![],
    )
    .await;
    assert_eq!(
        (yaml.code, yaml.content.as_str()),
        (200, "application/yaml")
    );
    assert!(
        yaml.body
            .starts_with(b"apiVersion: v1\nitems: []\nkind: ConfigMapList\n")
    );
    let content = [("content-type", "application/xx")];
    let odd = ask(&server, Method::POST, MAPS, &content, b"{}".to_vec()).await;
    assert_eq!(
        message(&odd),
        "the body of the request was in an unknown format - accepted media types include: \
         application/json, application/yaml, application/vnd.kubernetes.protobuf"
    );
}

#[tokio::test(start_paused = true)]
async fn broken_bodies_are_refused_with_the_words_of_go() {
    let server = server();
    let content = [("content-type", MEDIA)];
    let start = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap";
    let with = |rest: &[u8]| [start.as_slice(), rest].concat();
    for (body, words) in [
        (
            b"xx".to_vec(),
            "the object provided is unrecognized (must be of type ConfigMap): provided data does \
             not appear to be a protobuf message, expected prefix [107 56 115 0] (7878)",
        ),
        (
            b"k8s\0".to_vec(),
            "the object provided is unrecognized (must be of type ConfigMap): empty body (6b387300)",
        ),
        (
            with(b"\x12\x04\x08\x01\x0a\x7f"),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: proto: wrong wireType \
             = 0 for field ObjectMeta",
        ),
        (
            with(b"\x12\x02\x0a\x7f"),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: unexpected EOF",
        ),
        (
            b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMxx".to_vec(),
            "ConfigMxx in version \"v1\" cannot be handled as a ConfigMap: no kind \"ConfigMxx\" is \
             registered for version \"v1\" in scheme \"pkg/runtime/scheme.go:110\"",
        ),
    ] {
        let answer = ask(&server, Method::POST, MAPS, &content, body).await;
        let status: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(status["message"], words);
        assert_eq!(status["reason"], "BadRequest");
    }
}

#[test]
fn deep_and_wide_messages_are_bounded() {
    let schema = |inner: &[u8]| {
        // `properties`, an entry without a key, and a schema as its value.
        let mut out = Vec::new();
        let mut put = |tag: &[u8], body: &[u8]| {
            let mut next = tag.to_vec();
            let mut length = body.len();
            while length >= 128 {
                next.push(length as u8 | 0x80);
                length >>= 7;
            }
            next.push(length as u8);
            next.extend_from_slice(body);
            out = next;
            out.clone()
        };
        let entry = put(&[0x12], inner);
        put(&[0xea, 0x01], &entry)
    };
    let mut deep = Vec::new();
    for _ in 0..2000 {
        deep = schema(&deep);
    }
    let envelope = |kind: &str, version: &str, raw: &[u8]| {
        let text = json!({"apiVersion": version, "kind": kind});
        let mut out = bytes_of(&text);
        // The last parts of an empty object are replaced.
        let start = 4 + 2 + out[5] as usize;
        out.truncate(start);
        out.push(0x12);
        let mut length = raw.len();
        while length >= 128 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(raw);
        out
    };
    let frame = |number: u8, body: &[u8]| {
        let mut out = vec![number << 3 | 2];
        let mut length = body.len();
        while length >= 128 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(body);
        out
    };
    // spec.versions[0].schema.openAPIV3Schema
    let raw = frame(2, &frame(7, &frame(4, &frame(1, &deep))));
    let body = envelope("CustomResourceDefinition", "apiextensions.k8s.io/v1", &raw);
    let refused = weir_apiserver::protobuf_to_json(&body).expect_err("too deep");
    assert!(
        refused.to_string().contains("exceeded max depth"),
        "{refused}"
    );
    // Two bytes make a whole container each.
    let raw = frame(2, &[0x12, 0x00].repeat(600_000));
    let refused = weir_apiserver::protobuf_to_json(&envelope("Pod", "v1", &raw));
    let refused = refused.expect_err("too many");
    assert_eq!(refused.code(), 413);
}

proptest! {
    #[test]
    fn no_bytes_make_it_fall(at in 0usize..300, cut in 0usize..2000, byte: u8, place in 0usize..2000) {
        let mut bytes = CORPUS[at % CORPUS.len()].bytes.clone();
        let length = bytes.len();
        bytes[4 + place % (length - 4)] = byte;
        bytes.truncate(length.saturating_sub(cut % length).max(4));
        if let Ok(object) = weir_apiserver::protobuf_to_json(&bytes) {
            // What was read can be written, if it still names a kind.
            let _ = weir_apiserver::json_to_protobuf(&object);
        }
    }
}
