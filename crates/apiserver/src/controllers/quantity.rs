//! Owns amounts as controllers reckon with them: in thousandths, finer ones rounded up, with sums
//! and the text the API shows. Reading is `weir_schema`'s.

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

const DECIMAL: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// Billionths in a thousandth.
const NANOS: i128 = 1_000_000;
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
        let amount = weir_schema::Quantity::parse(text)?;
        let (size, sign) = (amount.nanos.abs(), amount.nanos.signum());
        let milli = size / NANOS + i128::from(size % NANOS != 0);
        Some(Self {
            milli: sign * milli.min(MOST),
            form: if amount.is_binary() {
                Form::Binary
            } else {
                Form::Decimal
            },
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
        for name in suffixes {
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
