//! Owns amounts: their text, as the API reads and writes it, and sums of them. Amounts finer than a
//! thousandth are rounded up. Pure.

/// How an amount is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// With powers of a thousand.
    Decimal,
    /// With powers of 1024.
    Binary,
}

/// An amount in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quantity {
    pub(crate) milli: i128,
    pub(crate) form: Form,
}

const DECIMAL: [(&str, u32); 6] = [("k", 1), ("M", 2), ("G", 3), ("T", 4), ("P", 5), ("E", 6)];
const BINARY: [(&str, u32); 6] = [
    ("Ki", 1),
    ("Mi", 2),
    ("Gi", 3),
    ("Ti", 4),
    ("Pi", 5),
    ("Ei", 6),
];
/// No amount is larger.
const MOST: i128 = i64::MAX as i128 * 1000;

impl Quantity {
    pub(crate) const ZERO: Self = Self::decimal(0);

    pub(crate) const fn decimal(milli: i128) -> Self {
        Self {
            milli,
            form: Form::Decimal,
        }
    }

    /// Reads an amount such as `100m`, `1.5`, `2Gi` or `1e3`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (sign, rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && part.is_empty()) || part.contains('.') || whole.len() > 20 {
            return None;
        }
        // Kept as an integer over a power of ten, so that nothing is lost before the suffix.
        let part: String = part.chars().take(12).collect();
        let digits: i128 = format!("0{whole}{part}").parse().ok()?;
        let mut scale = -i32::try_from(part.len()).ok()?;
        let (mut factor, mut form) = (1_i128, Form::Decimal);
        if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
            factor = 1024_i128.pow(*power);
            form = Form::Binary;
        } else if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            scale += 3 * i32::try_from(*power).ok()?;
        } else {
            scale += match suffix {
                "" => 0,
                "m" => -3,
                "u" => -6,
                "n" => -9,
                _ => {
                    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
                    exponent.clamp(-30, 18)
                }
            };
        }
        let mut milli = digits.checked_mul(factor)?;
        scale += 3;
        if scale >= 0 {
            milli = milli.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?)?;
        } else {
            let by = 10_i128.checked_pow(scale.unsigned_abs())?;
            milli = milli.div_euclid(by) + i128::from(milli.rem_euclid(by) != 0);
        }
        Some(Self {
            milli: sign * milli.min(MOST),
            form,
        })
    }

    /// The sum; it is written in the form of what it adds to, unless that is nothing.
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            milli: (self.milli + other.milli).clamp(-MOST, MOST),
            form: if self.milli == 0 {
                other.form
            } else {
                self.form
            },
        }
    }

    /// The amount as the API writes it.
    pub(crate) fn text(self) -> String {
        if self.milli % 1000 != 0 {
            return format!("{}m", self.milli);
        }
        let mut value = self.milli / 1000;
        if value == 0 {
            return "0".to_owned();
        }
        let (base, suffixes) = match self.form {
            Form::Binary if value.abs() >= 1024 => (1024, &BINARY),
            _ => (1000, &DECIMAL),
        };
        let mut suffix = "";
        for (name, _) in suffixes {
            if value % base != 0 {
                break;
            }
            value /= base;
            suffix = name;
        }
        format!("{value}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written_as_the_api_does() {
        for (text, milli, written) in [
            ("100m", 100, "100m"),
            ("1.5", 1500, "1500m"),
            ("0.5Gi", 536_870_912_000, "512Mi"),
            ("1e3", 1_000_000, "1k"),
            ("2000", 2_000_000, "2k"),
            ("1024Ki", 1_048_576_000, "1Mi"),
            ("1000Ki", 1_024_000_000, "1000Ki"),
            ("1Ki", 1_024_000, "1Ki"),
            ("100Mi", 104_857_600_000, "100Mi"),
            ("0", 0, "0"),
            ("1u", 1, "1m"),
            ("-2", -2000, "-2"),
        ] {
            let read = Quantity::parse(text).expect(text);
            assert_eq!(
                (read.milli, read.text().as_str()),
                (milli, written),
                "{text}"
            );
        }
        for text in ["", "x", "1.2.3", "1Q", "."] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_sum_keeps_the_form_of_its_first_part() {
        let read = |text| Quantity::parse(text).expect(text);
        assert_eq!(
            Quantity::ZERO.add(read("512Mi")).add(read("512Mi")).text(),
            "1Gi"
        );
        assert_eq!(read("1500m").add(read("500m")).text(), "2");
    }
}
