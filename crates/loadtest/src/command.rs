//! Owns how a command line is cut into words, as a shell would, without one: quotes and backslashes
//! are understood, and nothing else. What only a shell can do is refused.

/// Why a command line can't be cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// A quote has no end.
    #[error("the quote {0} has no end")]
    Open(char),
    /// It asks for what only a shell does.
    #[error("`{0}` asks for a shell, which is not used here; give one plain command")]
    Shell(char),
    /// There is nothing in it.
    #[error("the command is empty")]
    Empty,
}

/// The words of a command line.
pub fn words(line: &str) -> Result<Vec<String>, BadCommand> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => out.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(BadCommand::Open(c)),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.extend(chars.next()),
                        Some('$' | '`') if c == '"' => return Err(BadCommand::Shell('$')),
                        Some(other) => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '|' | '&' | ';' | '<' | '>' | '$' | '`' | '(' | ')' => {
                return Err(BadCommand::Shell(c));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    if out.is_empty() {
        return Err(BadCommand::Empty);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_a_shell_would() {
        let cut = |line: &str| words(line);
        let of = |all: &[&str]| Ok(all.iter().map(|w| (*w).to_owned()).collect());
        assert_eq!(
            cut("hey -z  1m http://a/b?c=d"),
            of(&["hey", "-z", "1m", "http://a/b?c=d"])
        );
        assert_eq!(
            cut(r#"a 'b c' "d \" e" f\ g ''"#),
            of(&["a", "b c", "d \" e", "f g", ""])
        );
        assert_eq!(cut("a 'b"), Err(BadCommand::Open('\'')));
        assert_eq!(cut("a | b"), Err(BadCommand::Shell('|')));
        assert_eq!(cut("a \"$(b)\""), Err(BadCommand::Shell('$')));
        assert_eq!(cut("  "), Err(BadCommand::Empty));
    }
}
