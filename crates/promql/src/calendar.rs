//! Parts of a UTC date from seconds since the Unix epoch.

const DAY: i64 = 86_400;

/// Days since the epoch and the second of that day; nothing beyond what a date can hold.
fn split(seconds: f64) -> Option<(i64, i64)> {
    (seconds.abs() < 6e13).then(|| {
        let whole = seconds as i64;
        (whole.div_euclid(DAY), whole.rem_euclid(DAY))
    })
}

/// Year, month and day of a day's number (the proleptic Gregorian calendar, counted in eras of 400
/// years from 1 March so that the leap day comes last).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn part(seconds: f64, pick: impl Fn(i64, i64) -> i64) -> f64 {
    split(seconds).map_or(f64::NAN, |(days, second)| pick(days, second) as f64)
}

pub(crate) fn minute(seconds: f64) -> f64 {
    part(seconds, |_, second| second / 60 % 60)
}

pub(crate) fn hour(seconds: f64) -> f64 {
    part(seconds, |_, second| second / 3600)
}

pub(crate) fn day_of_week(seconds: f64) -> f64 {
    part(seconds, |days, _| (days + 4).rem_euclid(7))
}

pub(crate) fn day_of_month(seconds: f64) -> f64 {
    part(seconds, |days, _| civil(days).2)
}

pub(crate) fn day_of_year(seconds: f64) -> f64 {
    part(seconds, |days, _| {
        let (year, month, day) = civil(days);
        (1..month)
            .map(|month| month_length(year, month))
            .sum::<i64>()
            + day
    })
}

pub(crate) fn days_in_month(seconds: f64) -> f64 {
    part(seconds, |days, _| {
        let (year, month, _) = civil(days);
        month_length(year, month)
    })
}

pub(crate) fn month(seconds: f64) -> f64 {
    part(seconds, |days, _| civil(days).1)
}

pub(crate) fn year(seconds: f64) -> f64 {
    part(seconds, |days, _| civil(days).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        // 2024-02-29 13:45:10 UTC, a Thursday.
        let at = 1_709_214_310.0;
        let got = [
            minute(at),
            hour(at),
            day_of_week(at),
            day_of_month(at),
            day_of_year(at),
            days_in_month(at),
            month(at),
            year(at),
        ];
        assert_eq!(
            got.map(|part| part as i64),
            [45, 13, 4, 29, 60, 29, 2, 2024]
        );
        assert_eq!(
            (year(-1.0), hour(-1.0), day_of_week(-1.0)),
            (1969.0, 23.0, 3.0)
        );
        assert!(year(f64::NAN).is_nan() && year(f64::INFINITY).is_nan());
    }
}
