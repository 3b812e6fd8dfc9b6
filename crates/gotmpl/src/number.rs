//! Number constants of templates.
//!
//! Owns reading one and all the types it can be: `1` is an integer that may stand for a float, `1.0` a float that
//! may stand for an integer. It refuses complex numbers.

use weir_gocompat::{parse_float, parse_int, parse_uint, quote, unquote_char};

/// A constant with every type it fits.
#[derive(Debug, Clone)]
pub(crate) struct Number {
    pub(crate) text: String,
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
}

impl Number {
    /// Reads a character constant with its quotes.
    pub(crate) fn character(text: &str) -> Result<Self, String> {
        let code = match unquote_char(text) {
            Ok(c) => u32::from(c),
            Err(wrong) => {
                // Go tells an overlong constant from one that is wrong in itself.
                let one = text
                    .char_indices()
                    .nth(2)
                    .and_then(|(end, _)| text.get(..end));
                let starts_well = one.is_some_and(|one| unquote_char(&format!("{one}'")).is_ok());
                return Err(if starts_well || is_escape(text) {
                    format!("malformed character constant: {text}")
                } else {
                    wrong.to_string()
                });
            }
        };
        Ok(Self {
            text: text.to_owned(),
            int: Some(i64::from(code)),
            uint: Some(u64::from(code)),
            float: Some(f64::from(code)),
        })
    }

    /// Reads a number.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let int = parse_int(text).ok();
        let mut uint = parse_uint(text).ok();
        if int == Some(0) {
            uint = Some(0); // `-0` is both
        }
        let mut number = Self {
            text: text.to_owned(),
            int,
            uint,
            float: None,
        };
        if let Some(int) = int {
            number.float = Some(int as f64);
        } else if let Some(uint) = uint {
            number.float = Some(uint as f64);
        } else if let Ok(float) = parse_float(text) {
            if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                return Err(format!("integer overflow: {}", quote(text)));
            }
            const TWO_63: f64 = 9_223_372_036_854_775_808.0;
            if float.fract() == 0.0 {
                number.int = (-TWO_63..TWO_63).contains(&float).then_some(float as i64);
                number.uint = (0.0..2.0 * TWO_63).contains(&float).then_some(float as u64);
            }
            number.float = Some(float);
        } else {
            return Err(format!("illegal number syntax: {}", quote(text)));
        }
        Ok(number)
    }

    /// Whether, where the context tells nothing, this is a float.
    pub(crate) fn is_float(&self) -> bool {
        let lower = self.text.to_ascii_lowercase();
        let hex_int = lower.len() > 2 && lower.starts_with("0x") && !lower.contains('p');
        !hex_int && !lower.starts_with('\'') && lower.contains(['.', 'e', 'p'])
    }
}

/// A valid escape with more after it.
fn is_escape(text: &str) -> bool {
    (3..=text.len().min(12))
        .filter_map(|end| text.get(..end))
        .any(|head| head.starts_with("'\\") && unquote_char(&format!("{head}'")).is_ok())
}
