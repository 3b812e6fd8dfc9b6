//! Every answer in `corpus/` came from Go (see `tests/go/README.md`); this crate must give the same, messages included.

use proptest::prelude::*;
use weir_gotmpl::{Func, Funcs, Limits, MissingKey, Signature, Struct, Template, Type, Value};

/// Cases, by their template, that differ from Go and stay so, each with its reason.
const KNOWN: [(&str, &str); 4] = [
    ("{{1i}}", COMPLEX),
    ("{{printf \"%T %v\" (1i) (1i)}}", COMPLEX),
    ("{{1+2i}}", COMPLEX),
    ("{{printf \"%T %v\" (1+2i) (1+2i)}}", COMPLEX),
];
const COMPLEX: &str = "complex numbers are refused while parsing: nothing in a manifest is one";

/// What the data "D" of a case stands for; the helper that asks Go has the same.
const COMMON: &str = r#"{"s":"str","n":3,"f":1.5,"b":true,"nil":null,"l":["a","b","c"],"m":{"k":"v","j":1,"d":{"e":"deep"}},
"e":[],"em":{},"es":"","z":0,"o":[{"name":"x","v":1},{"name":"y","v":2},null],"big":1000000,
"h":"<a href=\"x\">'&'</a>"}"#;

fn text(value: &Value) -> String {
    value.as_text().unwrap_or_default()
}

fn int(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::Int(i)) => *i,
        _ => 0,
    }
}

fn resource(kind: &str, name: &str) -> Value {
    Value::Struct(Struct::new(
        "main.resource",
        [("Kind", kind.into()), ("Name", name.into())],
    ))
}

fn add() -> Func {
    Func::new(Signature::fixed([Type::Int, Type::Int]), |args| {
        Ok(Value::Int(int(args.first()) + int(args.get(1))))
    })
    .with_type_name("func(int, int) int")
}

/// The functions the helper has under the same names.
fn funcs() -> Funcs {
    let changes = weir_gotmpl::Map::typed(
        Type::Struct("main.resource".into()),
        Type::List(Type::String.into()),
    );
    changes.insert(resource("Service", "b"), Value::string_list(["2"]));
    changes.insert(resource("Deployment", "a"), Value::string_list(["1", "3"]));
    let mut funcs = Funcs::new()
        .with("upper", Signature::fixed([Type::String]), |args| {
            Ok(text(&args[0]).to_uppercase().into())
        })
        .with_value("name", "podinfo".into())
        .with_value("vars", Value::string_map([("a", "1"), ("b", "two")]))
        .with(
            "join",
            Signature::variadic([Type::String], Type::String),
            |args| {
                let parts: Vec<String> = args[1..].iter().map(text).collect();
                Ok(parts.join(&text(&args[0])).into())
            },
        )
        .with("any", Signature::fixed([Type::Any]), |args| {
            Ok(args[0].clone())
        })
        .with("fail", Signature::fixed([Type::String]), |args| {
            Err(text(&args[0]))
        })
        .with("half", Signature::fixed([Type::Float]), |args| {
            match args[0] {
                Value::Float(f) => Ok(Value::Float(f / 2.0)),
                _ => Ok(Value::Nil),
            }
        })
        .with("yes", Signature::fixed([Type::Bool]), |args| {
            Ok(args[0].clone())
        })
        .with_value("adder", Value::Func(add()))
        .with_value("bignum", Value::Int64(1 << 40))
        .with_value("unum", Value::Uint64(7))
        .with_value("strs", Value::string_list(["x", "y"]))
        .with_value("res", resource("Deployment", "app"))
        .with_value("changes", Value::Map(changes));
    funcs.insert("add", add());
    funcs
}

fn run(template: &str, data: &Value, missing: &str) -> Result<String, String> {
    let missing = match missing {
        "error" => MissingKey::Error,
        "zero" => MissingKey::Zero,
        _ => MissingKey::Default,
    };
    let template = Template::parse("t", template, &funcs()).map_err(|wrong| wrong.to_string())?;
    template
        .missing_key(missing)
        .execute(data)
        .map_err(|wrong| wrong.to_string())
}

#[test]
fn templates() {
    let common: serde_json::Value = serde_json::from_str(COMMON).expect("the data is JSON");
    let mut wrong = Vec::new();
    for line in include_str!("corpus/templates.jsonl").lines() {
        let case: serde_json::Value = serde_json::from_str(line).expect("a corpus line is JSON");
        let field = |name: &str| case[name].as_str().unwrap_or_default();
        if KNOWN.iter().any(|(template, _)| *template == field("text")) {
            continue;
        }
        let data = match &case["data"] {
            serde_json::Value::String(name) if name == "D" => Value::from(&common),
            data => Value::from(data),
        };
        let (kind, ours) = match run(field("text"), &data, field("missing")) {
            Ok(output) => ("output", output),
            Err(message) => ("error", message),
        };
        if case.get(kind).and_then(|answer| answer.as_str()) != Some(&ours) {
            let go = case.get("output").or(case.get("error"));
            let go = go.and_then(|go| go.as_str()).unwrap_or_default();
            wrong.push(format!(
                "{:?}\n  ours {kind}: {ours:?}\n  Go's: {go:?}",
                field("text")
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} answers differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn limited(template: &str, limits: Limits) -> String {
    let template = Template::parse("t", template, &Funcs::new()).expect("the template is valid");
    template
        .limits(limits)
        .execute(&Value::Nil)
        .expect_err("a limit stops it")
        .to_string()
}

#[test]
fn endless_recursion_is_stopped() {
    let wrong = limited(
        r#"{{define "a"}}{{template "a"}}{{end}}{{template "a"}}"#,
        Limits::default(),
    );
    assert!(wrong.contains("exceeded maximum template depth"), "{wrong}");
}

#[test]
fn endless_looping_is_stopped() {
    let limits = Limits {
        steps: 1000,
        ..Limits::default()
    };
    let wrong = limited(
        "{{range 1000000000}}{{range 1000000000}}{{end}}{{end}}",
        limits,
    );
    assert!(wrong.contains("exceeded maximum steps (1000)"), "{wrong}");
}

#[test]
fn growing_text_is_stopped() {
    let limits = Limits {
        output: 1000,
        ..Limits::default()
    };
    let doubling = r#"{{$x := "a"}}{{range 100}}{{$x = printf "%s%s" $x $x}}{{end}}"#;
    assert!(limited(doubling, limits).contains("exceeded maximum output (1000 bytes)"));
    let kept = r#"{{$x := printf "%900d" 1}}"#.repeat(20);
    assert!(limited(&kept, limits).contains("exceeded maximum output (1000 bytes)"));
    let padded = format!("{{{{printf {:?} 1}}}}", "%9999999[1]d".repeat(1000));
    assert!(limited(&padded, Limits::default()).contains("exceeded maximum output"));
    let wrong = limited("{{range 1000}}0123456789{{end}}", limits);
    assert!(wrong.contains("exceeded maximum output"), "{wrong}");
}

#[test]
fn the_deepest_template_runs() {
    let nested = format!("{}x{}", "{{if true}}".repeat(90), "{{end}}".repeat(90));
    assert_eq!(run(&nested, &Value::Nil, ""), Ok("x".to_owned()));
    let deeper = format!(
        "{}1{}",
        "{{".to_owned() + &"(".repeat(100_000),
        ")".repeat(100_000) + "}}"
    );
    assert!(run(&deeper, &Value::Nil, "").is_err());
    let chain = format!(
        "{{{{if false}}}}{}{{{{end}}}}",
        "{{else if false}}".repeat(100_000)
    );
    assert!(run(&chain, &Value::Nil, "").is_err());
}

#[test]
fn a_map_holding_itself_is_printed() {
    let map = weir_gotmpl::Map::typed(Type::String, Type::Any);
    map.insert("self".into(), Value::Map(map.clone()));
    assert!(run("{{.}}", &Value::Map(map.clone()), "").is_ok());
    map.remove(&"self".into());
}

#[test]
fn sources_share_templates() {
    let mut template = Template::parse("a", r#"{{template "b" 1}}"#, &Funcs::new()).expect("valid");
    template
        .add("lib", "\n{{define \"b\"}}<{{.x}}>{{end}}")
        .expect("valid");
    let wrong = template
        .execute(&Value::Nil)
        .expect_err("an int has no fields")
        .to_string();
    assert_eq!(
        wrong,
        "template: lib:2:17: executing \"b\" at <.x>: can't evaluate field x in type int"
    );
}

#[test]
fn templates_cross_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Template>();
    shared::<Value>();
    shared::<Funcs>();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_answered(s in "\\PC{0,60}") {
        let _ = run(&s, &Value::Nil, "");
        let _ = run(&format!("{{{{{s}}}}}"), &Value::Nil, "");
    }

    #[test]
    fn template_like_text_is_answered(parts in prop::collection::vec(prop::sample::select(vec![
        "{{", "}}", " ", "{{-", "-}}", "if ", "else", "end", "range ", "with ", "define ", "block ", "template ", "\"x\"",
        "`", "'a'", "$", "$x", ":=", "=", ",", "|", "(", ")", ".", ".a", ".b.c", "print ", "printf ", "index ", "slice ",
        "1", "-1", "0x", "1.5", "true", "nil", "break", "continue", "/*", "*/", "\n", "é", "{{end}}", "{{if .a}}", "{{range 3}}",
        "\"%[1]*.[2]d\"", "eq ", "call ", "and ", "text",
    ]), 0..24)) {
        let data = Value::map([("a", Value::list([Value::Int(1), Value::Nil])), ("b", Value::map([("c", Value::from("d"))]))]);
        let _ = run(&parts.concat(), &data, "error");
    }

    #[test]
    fn any_format_is_answered(format in "[%a-zA-Z0-9 #+.*\\[\\]é-]{0,12}", n: i64, f: f64, s: String) {
        // A width may pad to a million bytes; that many are few enough.
        let args = [Value::Int(n), Value::Float(f), Value::from(s), Value::Nil];
        let _ = weir_gotmpl::sprintf(format.as_bytes(), &args);
    }
}
