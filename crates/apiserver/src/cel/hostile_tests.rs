//! Owns the proof that no expression does harm: each is refused or ends, soon and within the stack.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::{Decl, Fault, Named, PER_CALL, Program, Type, view};

/// Compiles and runs an expression on a thread with the stack of a server's thread.
fn run(source: &str) -> Result<(), String> {
    let source = source.to_owned();
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let work = move || {
        let values: Vec<String> = (0..200).map(|i| format!("value {i}")).collect();
        let given = json!({"list": values, "text": "x".repeat(1000), "map": {"a": 1}});
        let variables = [("self", Type::Dyn)];
        let program = Program::compile(&source, &variables).map_err(|why| why.to_string())?;
        let root = Decl {
            ty: Type::Dyn,
            least: 0,
            most: u64::MAX,
            of: None,
            fields: BTreeMap::new(),
        };
        let _ = program.at_most(&root);
        let scope = Named(vec![("self", view(&given, None).expect("a value"))]);
        let (value, spent) = program.run(&scope, PER_CALL);
        assert_eq!(value == Err(Fault::Cost), spent > PER_CALL);
        Ok(())
    };
    let thread = thread.spawn(work).expect("a thread");
    thread.join().expect("no panic")
}

#[test]
fn what_nests_deep_is_refused() {
    let many = 24_000;
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{1: ", "1", "}"),
        ("!(", "true", ")"),
        ("-(", "1", ")"),
        ("size(", "'x'", ")"),
        ("self[", "1", "]"),
        ("[1].map(x, ", "x", ")"),
        ("true ? (", "1", ") : 2"),
        ("has(", "self.a", ")"),
    ] {
        for times in [100, 249, 251, many] {
            let times = times.min(99_000 / (open.len() + close.len()));
            let source = format!("{}{middle}{}", open.repeat(times), close.repeat(times));
            let said = run(&source);
            if times > 251 {
                assert!(said.is_err(), "{open}");
            }
        }
    }
    for (start, more) in [
        ("self", ".a"),
        ("self", ".?a"),
        ("self", "[0]"),
        ("1", "+1"),
        ("1", "*1"),
        ("1", "==1"),
        ("''", ".trim()"),
        ("[1]", ".map(x, x)"),
        ("optional.none()", ".or(optional.none())"),
    ] {
        for times in [100, 249, 251, many] {
            let times = times.min(99_000 / more.len());
            let said = run(&format!("{start}{}", more.repeat(times)));
            if times > 251 {
                assert!(said.is_err(), "{more}");
            }
        }
        // Both at once.
        let inner = format!("{}({start}", "(".repeat(200));
        let source = format!(
            "{inner}{})",
            format!("{})", more.repeat(450 / more.len())).repeat(200)
        );
        assert!(run(&source).is_err(), "{more}");
    }
    for (start, more) in [
        ("true", "&&true"),
        ("true", "||true"),
        ("", "!"),
        ("1", "?1:1"),
    ] {
        let _ = run(&format!("{start}{}", more.repeat(many / 2)));
    }
    let _ = run(&format!("[{}1]", "1,".repeat(49_000)));
    let _ = run(&format!(
        "'{}'.matches('{}')",
        "a".repeat(40_000),
        "a?".repeat(20_000)
    ));
    assert!(run(&"1".repeat(100_001)).is_err());
}

/// The limits are where a real server was seen to have them.
#[test]
fn limits_are_the_real_ones() {
    let recursion =
        "compilation failed: ERROR: <input>:-1:0: expression recursion limit exceeded: 250";
    let depth = "compilation failed: ERROR: <input>:-1:0: max recursion depth exceeded";
    let calls = |n| format!("'x'{}==''", ".trim()".repeat(n));
    let sums = |n| format!("0{}==1", "+1".repeat(n));
    let parens = |n| format!("{}true{}", "(".repeat(n), ")".repeat(n));
    let lists = |n| format!("{}{}!=[]", "[".repeat(n), "]".repeat(n));
    for (last, make, why) in [
        (249, &calls as &dyn Fn(usize) -> String, depth),
        (249, &sums, depth),
        (249, &parens, recursion),
        (250, &lists, recursion),
    ] {
        assert_eq!(run(&make(last)), Ok(()));
        assert_eq!(run(&make(last + 1)), Err(why.to_owned()));
    }
    assert_eq!(run(&format!("true{}", "&&true".repeat(510))), Ok(()));
}

#[test]
fn what_costs_much_is_stopped() {
    let started = Instant::now();
    for source in [
        "self.list.all(a, self.list.all(b, self.list.all(c, self.list.all(d, a + b + c + d != ''))))",
        "self.list.map(a, self.list.map(b, self.list.map(c, a + b + c)))",
        "self.list.map(a, self.list).map(l, l + l + l + l).map(l, l + l + l + l).size() > 0",
        "self.list.all(a, self.list.all(b, (self.text + self.text).matches('(x+x+)+y')))",
        "self.list.map(a, self.text + self.text + self.text).map(t, t + t + t + t + t + t + t + t).map(t, t + t + t + t + t + t + t + t).join(',').size() > 0",
        "self.list.map(a, self.text.replace('', self.text)).join('').replace('', self.text).size() > 0",
        "self.list.all(a, self.list.map(b, self.text.split('')).size() > 0)",
        "self.list.transformMap(i, v, self.list.transformMap(j, w, self.list)).size() > 0",
        "self.list.sum() == ''",
        "self.text.format([1]).size() > 0",
        "'%1000000000d'.format([1]).size() > 0",
        "'%.1000000000f'.format([1.0]).size() > 0",
        "sets.contains(self.list, self.list) && self.list.all(x, sets.equivalent(self.list, self.list))",
        "self.list.all(x, self.list.isSorted() && self.list.indexOf(x) >= 0 && self.list.lastIndexOf('none') < 0)",
        "[[[1, 2], [3]], [[4]]].all(x, x.all(y, y.all(z, z > 0)))",
        "[1, 2, 3, 4, 5, 6, 7, 8].all(a, [self.text, self.text].map(t, t.replace('x', t)).map(t, t.replace('x', t)).size() > 0)",
    ] {
        let _ = run(source);
    }
    // Far from what an endless loop takes; debug builds are slow.
    assert!(started.elapsed() < Duration::from_mins(1));
}

fn word() -> impl Strategy<Value = String> {
    let known = [
        "self",
        "self.list",
        "self.text",
        "self.map",
        "oldSelf",
        "x",
        "true",
        "false",
        "null",
        "1",
        "-9223372036854775808",
        "0u",
        "1.5",
        "1e999",
        "'a'",
        r"b'\xff'",
        r"r'\'",
        "'''",
        "\"",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ".?",
        "[?",
        ",",
        ":",
        "?",
        "||",
        "&&",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        ">=",
        "in",
        "has(",
        "all(x, ",
        "exists(x, ",
        "map(x, ",
        "filter(x, ",
        "exists_one(x, ",
        "transformList(i, v, ",
        "optMap(x, ",
        "size(",
        "matches(",
        "int(",
        "duration(",
        "timestamp(",
        "quantity(",
        "ip('1.1.1.1')",
        "cidr('1.1.1.0/24')",
        "url(",
        "format([",
        "split(",
        "substring(",
        "getHours()",
        "optional.of(",
        "type(",
        "dyn(",
        "//",
        "\n",
        "é",
        "\u{10ffff}",
        "semver(",
        "format.named(",
        "sets.contains(",
        "as",
        "package",
    ];
    prop_oneof![
        8 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "[ -~]{0,6}",
        1 => any::<char>().prop_map(String::from),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let known = [
        "-1",
        "0",
        "1",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615u",
        "0.0",
        "-1.5",
        "1e308",
        "double('NaN')",
        "double('Infinity')",
        "''",
        "'é'",
        "'a,b'",
        "'('",
        r"b'\xff'",
        "null",
        "true",
        "[]",
        "[1, 'a']",
        "['b', 'a']",
        "{}",
        "{'a': 1}",
        "self.list",
        "self.text",
        "self.map",
        "duration('1h')",
        "duration('-9223372036s')",
        "timestamp('9999-12-31T23:59:59Z')",
        "timestamp('0001-01-01T00:00:00Z')",
        "optional.none()",
        "optional.of(1)",
        "quantity('1.5Gi')",
        "quantity('-9e18')",
        "ip('::1')",
        "cidr('10.0.0.0/8')",
        "url('https://a/b')",
        "semver('1.2.3-a')",
        "type(1)",
        "format.dns1123Label()",
        "'%s %d %e %x'",
        "'Europe/Berlin'",
        "'25:99'",
    ];
    prop::sample::select(known.to_vec()).prop_map(|v| format!("dyn({v})"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn no_text_does_harm(
        words in prop::collection::vec(word(), 0..24),
        space in any::<bool>(),
    ) {
        let _ = run(&words.join(if space { " " } else { "" }));
    }

    #[test]
    fn no_function_does_harm(
        name in prop::sample::select(super::functions::names()),
        target in prop::option::of(value()),
        args in prop::collection::vec(value(), 0..4),
    ) {
        let args = args.join(", ");
        let _ = match target {
            Some(target) => run(&format!("{target}.{name}({args})")),
            None => run(&format!("{name}({args})")),
        };
    }

    #[test]
    fn no_operator_does_harm(
        sign in prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "<", ">=", "in", "&&", "["]),
        left in value(),
        right in value(),
    ) {
        let close = if sign == "[" { "]" } else { "" };
        let _ = run(&format!("{left} {sign} {right}{close}"));
        let _ = run(&format!("-{left}"));
        let _ = run(&format!("!{left}"));
    }
}
