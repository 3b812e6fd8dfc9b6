//! Character classes of Go's regular expressions, written out for the matcher.
//!
//! Owns the names: Perl's (`\d`), POSIX's (`[:alpha:]`), both ASCII only in Go, and Unicode's (`\p{Greek}`).
//! It refuses Unicode names that are neither a general category nor a script.

/// The members of a Perl class, to stand inside brackets, and whether the letter negates it.
pub(crate) fn perl(letter: char) -> Option<(&'static str, bool)> {
    Some(match letter {
        'd' => ("0-9", false),
        'D' => ("0-9", true),
        's' => (r"\t\n\x0c\r ", false),
        'S' => (r"\t\n\x0c\r ", true),
        'w' => ("0-9A-Za-z_", false),
        'W' => ("0-9A-Za-z_", true),
        _ => return None,
    })
}

/// The members of a POSIX class, to stand inside brackets.
pub(crate) fn posix(name: &str) -> Option<&'static str> {
    Some(match name {
        "alnum" => "0-9A-Za-z",
        "alpha" => "A-Za-z",
        "ascii" => r"\x00-\x7f",
        "blank" => r"\t ",
        "cntrl" => r"\x00-\x1f\x7f",
        "digit" => "0-9",
        "graph" => "!-~",
        "lower" => "a-z",
        "print" => " -~",
        "punct" => r"!-/:-@\[-`\{-~",
        "space" => r"\t\n\x0b\x0c\r ",
        "upper" => "A-Z",
        "word" => "0-9A-Za-z_",
        "xdigit" => "0-9A-Fa-f",
        _ => return None,
    })
}

/// A bracketed group inside a class, or standing alone.
pub(crate) fn bracket(members: &str, negated: bool) -> String {
    if negated {
        format!("[^{members}]")
    } else {
        format!("[{members}]")
    }
}

/// A Unicode class by its name, usable alone and inside brackets.
pub(crate) fn unicode(name: &str, negated: bool) -> Option<String> {
    // A name with any other character could smuggle in a different query.
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' '))
    {
        return None;
    }
    let letter = if negated { 'P' } else { 'p' };
    ["gc", "sc"]
        .into_iter()
        .map(|property| format!(r"\{letter}{{{property}={name}}}"))
        .find(|class| regex_syntax::parse(class).is_ok())
}

/// One character, written so that it can mean nothing else to the matcher, inside brackets or out.
pub(crate) fn literal(c: char) -> String {
    if c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii() && !c.is_control() && c != '\u{85}' {
        c.to_string()
    } else {
        format!(r"\x{{{:x}}}", u32::from(c))
    }
}
