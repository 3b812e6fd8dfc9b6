//! Owns label selectors: their grammar, its refusals in the API's words, what labels are made of,
//! and whether labels are selected. It refuses field selectors, which need to know the kind.

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The label has one of these values.
    In(String, Vec<String>),
    /// The label has none of these values, or is not there.
    NotIn(String, Vec<String>),
    /// The label is there.
    Exists(String),
    /// The label is not there.
    Absent(String),
    /// The label is a number greater than this.
    Greater(String, i64),
    /// The label is a number less than this.
    Less(String, i64),
}

/// Whether labels meet all needs; `label` tells the value of one.
pub fn meet<'a>(needs: &[Need], label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let number = |key: &str| label(key).and_then(|v| v.parse::<i64>().ok());
    needs.iter().all(|need| match need {
        Need::In(key, values) => label(key).is_some_and(|v| values.iter().any(|o| o == v)),
        Need::NotIn(key, values) => label(key).is_none_or(|v| values.iter().all(|o| o != v)),
        Need::Exists(key) => label(key).is_some(),
        Need::Absent(key) => label(key).is_none(),
        Need::Greater(key, than) => number(key).is_some_and(|v| v > *than),
        Need::Less(key, than) => number(key).is_some_and(|v| v < *than),
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Sign(&'static str),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Sign(sign) => sign,
            Self::End => "",
        }
    }
}

/// Signs, longer ones first.
const SIGNS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

fn tokens(text: &str) -> Vec<Token> {
    // A NUL ends the text, as it does for the API.
    let mut rest = text.split('\0').next().unwrap_or_default();
    let mut out = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            out.push(Token::End);
            return out;
        }
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            out.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
            continue;
        }
        let is_end = |c: char| {
            matches!(
                c,
                '=' | '!' | '(' | ')' | ',' | '>' | '<' | ' ' | '\t' | '\r' | '\n'
            )
        };
        let end = rest.find(is_end).unwrap_or(rest.len());
        out.push(Token::Word(rest[..end].to_owned()));
        rest = &rest[end..];
    }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

/// Reads a label selector.
///
/// # Errors
/// What the API says of it.
pub fn parse(text: &str) -> Result<Vec<Need>, String> {
    let tokens = tokens(text).into_iter().peekable();
    Parser { tokens }.all()
}

impl Parser {
    fn next(&mut self) -> Token {
        self.tokens.next().unwrap_or(Token::End)
    }

    fn peek(&mut self) -> Token {
        self.tokens.peek().cloned().unwrap_or(Token::End)
    }

    fn all(&mut self) -> Result<Vec<Need>, String> {
        let mut out = Vec::new();
        loop {
            match self.peek() {
                Token::Word(_) | Token::Sign("!") => {}
                Token::End => return Ok(out),
                other @ Token::Sign(_) => {
                    let found = other.text();
                    return Err(format!(
                        "found '{found}', expected: !, identifier, or 'end of string'"
                    ));
                }
            }
            let need = self
                .need()
                .map_err(|fault| format!("unable to parse requirement: {fault}"))?;
            out.push(need);
            match self.next() {
                Token::End => return Ok(out),
                Token::Sign(",") => {
                    let after = self.peek();
                    if !matches!(after, Token::Word(_) | Token::Sign("!")) {
                        return Err(format!(
                            "found '{}', expected: identifier after ','",
                            after.text()
                        ));
                    }
                }
                other => {
                    let found = other.text();
                    return Err(format!("found '{found}', expected: ',' or 'end of string'"));
                }
            }
        }
    }

    fn need(&mut self) -> Result<Need, String> {
        let mut first = self.next();
        let absent = first == Token::Sign("!");
        if absent {
            first = self.next();
        }
        let Token::Word(key) = first else {
            return Err(format!("found '{}', expected: identifier", first.text()));
        };
        let faults = key_faults(&key);
        if !faults.is_empty() {
            return Err(format!(
                "<nil>: Invalid value: {}: {}",
                quoted(&key),
                faults.join("; ")
            ));
        }
        if absent {
            return Ok(Need::Absent(key));
        }
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(Need::Exists(key));
        }
        let operator = self.next();
        let need = match &operator {
            Token::Word(word) if word == "in" => Need::In(key, self.values()?),
            Token::Word(word) if word == "notin" => Need::NotIn(key, self.values()?),
            Token::Sign("=" | "==") => Need::In(key, vec![self.value()?]),
            Token::Sign("!=") => Need::NotIn(key, vec![self.value()?]),
            Token::Sign(sign @ (">" | "<")) => {
                let text = self.value()?;
                let mut faults = Vec::new();
                let than = text.parse::<i64>();
                if than.is_err() {
                    faults.push(format!(
                        "values[0]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer",
                        quoted(&text)
                    ));
                }
                check_values(&key, &[text], faults)?;
                let than = than.unwrap_or_default();
                return Ok(if *sign == ">" {
                    Need::Greater(key, than)
                } else {
                    Need::Less(key, than)
                });
            }
            other => {
                let found = other.text();
                return Err(format!(
                    "found '{found}', expected: in, notin, =, ==, !=, gt, lt"
                ));
            }
        };
        if let Need::In(key, values) | Need::NotIn(key, values) = &need {
            check_values(key, values, Vec::new())?;
        }
        Ok(need)
    }

    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(word) => Ok(word),
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let open = self.next();
        if open != Token::Sign("(") {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        match self.peek() {
            Token::Sign(")") => {
                self.next();
                return Ok(vec![String::new()]);
            }
            Token::Word(_) | Token::Sign(",") => {}
            other => {
                return Err(format!(
                    "found '{}', expected: ',', ')' or identifier",
                    other.text()
                ));
            }
        }
        let mut out = Vec::new();
        loop {
            match self.next() {
                Token::Word(word) => {
                    out.push(word);
                    match self.peek() {
                        Token::Sign(",") => {}
                        Token::Sign(")") => break,
                        other => {
                            return Err(format!("found '{}', expected: ',' or ')'", other.text()));
                        }
                    }
                }
                Token::Sign(",") => {
                    if out.is_empty() {
                        out.push(String::new());
                    }
                    match self.peek() {
                        Token::Sign(")") => {
                            out.push(String::new());
                            break;
                        }
                        Token::Sign(",") => {
                            self.next();
                            out.push(String::new());
                        }
                        _ => {}
                    }
                }
                other => {
                    return Err(format!(
                        "found '{}', expected: ',', or identifier",
                        other.text()
                    ));
                }
            }
        }
        // The closing parenthesis was seen.
        self.next();
        out.sort();
        out.dedup();
        Ok(out)
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn check_values(key: &str, values: &[String], mut faults: Vec<String>) -> Result<(), String> {
    for (i, value) in values.iter().enumerate() {
        let of = value_faults(value);
        if !of.is_empty() {
            let (value, of) = (quoted(value), of.join("; "));
            faults.push(format!("values[{i}][{key}]: Invalid value: {value}: {of}"));
        }
    }
    match faults.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must \
start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used \
for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', \
'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or \
'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const PREFIX: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', \
regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// What is wrong with a key, `name` or `prefix/name`.
fn key_faults(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        ["", name] => {
            out.push("prefix part must be non-empty".to_owned());
            *name
        }
        [prefix, name] => {
            if prefix.len() > 253 {
                out.push("prefix part must be no more than 253 characters".to_owned());
            }
            if !prefix.split('.').all(is_dns_label) {
                out.push(PREFIX.to_owned());
            }
            *name
        }
        _ => {
            let rule = NAME_PART.trim_start_matches("name part ");
            return vec![format!(
                "a qualified name {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_name_part(name) {
        out.push(NAME_PART.to_owned());
    }
    out
}

/// What is wrong with a value.
fn value_faults(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > 63 {
        out.push("must be no more than 63 characters".to_owned());
    }
    if !text.is_empty() && !is_name_part(text) {
        out.push(VALUE.to_owned());
    }
    out
}

fn is_dns_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !text.is_empty()
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || c == '-')
}

fn is_name_part(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    !text.is_empty()
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text
            .chars()
            .all(|c| plain(c) || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_refused_in_the_words_of_the_api() {
        for (text, words) in [
            ("a=x,", "found '', expected: identifier after ','"),
            (
                ",a",
                "found ',', expected: !, identifier, or 'end of string'",
            ),
            (
                "a in",
                "unable to parse requirement: found '' expected: '('",
            ),
            (
                "a in (",
                "unable to parse requirement: found '', expected: ',', ')' or identifier",
            ),
            (
                "a in (x y)",
                "unable to parse requirement: found 'y', expected: ',' or ')'",
            ),
            (
                "a in (x,",
                "unable to parse requirement: found '', expected: ',', or identifier",
            ),
            (
                "a in x",
                "unable to parse requirement: found 'x' expected: '('",
            ),
            (
                "a foo (x)",
                "unable to parse requirement: found 'foo', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("!a=x", "found '=', expected: ',' or 'end of string'"),
            (
                "!!a",
                "unable to parse requirement: found '!', expected: identifier",
            ),
            (
                "=x",
                "found '=', expected: !, identifier, or 'end of string'",
            ),
            (
                "a===x",
                "unable to parse requirement: found '=', expected: identifier",
            ),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            (
                "/c",
                "unable to parse requirement: <nil>: Invalid value: \"/c\": prefix part must be non-empty",
            ),
        ] {
            assert_eq!(parse(text), Err(words.to_owned()), "{text}");
        }
        let long = "x".repeat(64);
        assert_eq!(
            parse(&format!("a in ({long},-)")).map_err(|e| e
                .starts_with("unable to parse requirement: [values[0][a]: Invalid value: \"-\"")
                && e.ends_with("must be no more than 63 characters]")),
            Err(true)
        );
    }

    #[test]
    fn words_are_operators_or_values_by_their_place() {
        assert_eq!(
            parse("in in (in, notin)"),
            Ok(vec![Need::In(
                "in".into(),
                vec!["in".into(), "notin".into()]
            )])
        );
        assert_eq!(
            parse("a in ()"),
            Ok(vec![Need::In("a".into(), vec![String::new()])])
        );
        assert_eq!(
            parse("a in (,,b)"),
            Ok(vec![Need::In("a".into(), vec![String::new(), "b".into()])])
        );
        assert_eq!(
            parse("a=,b"),
            Ok(vec![
                Need::In("a".into(), vec![String::new()]),
                Need::Exists("b".into())
            ])
        );
        assert_eq!(
            parse(" ! a , b<3"),
            Ok(vec![Need::Absent("a".into()), Need::Less("b".into(), 3)])
        );
        assert_eq!(parse(""), Ok(vec![]));
    }
}
