//! Owns tables in the way of kubectl: left-aligned columns, three spaces between, no lines.

use std::io::Write;

/// Writes rows under a header. Cells are cut to one line; the last column is never padded.
pub(crate) fn write(
    out: &mut impl Write,
    header: &[&str],
    rows: &[Vec<String>],
) -> std::io::Result<()> {
    let mut widths: Vec<usize> = header.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(one_line(cell).chars().count());
        }
    }
    let header: Vec<String> = header.iter().map(|h| (*h).to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String does not fail.
            let _ = std::fmt::Write::write_fmt(
                &mut line,
                format_args!("{:<width$}   ", one_line(cell)),
            );
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn one_line(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A span of time as kubectl shows an age: `12s`, `3m4s`, `2h`, `5d`.
pub(crate) fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => format!("{}m{}s", seconds / 60, seconds % 60).replace("m0s", "m"),
        600..10_800 => format!("{}m", seconds / 60),
        10_800..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = vec![
            vec!["app".to_owned(), "True".to_owned(), "two\nlines".to_owned()],
            vec!["longer-name".to_owned(), "False".to_owned(), String::new()],
        ];
        let mut out = Vec::new();
        write(&mut out, &["NAME", "READY", "MESSAGE"], &rows).expect("written");
        let expected = "NAME          READY   MESSAGE\n\
                        app           True    two lines\n\
                        longer-name   False\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }

    #[test]
    fn ages_read_as_kubectl_shows_them() {
        let ages: Vec<String> = [5, 119, 120, 185, 700, 90_000, 200_000].map(age).into();
        assert_eq!(ages, ["5s", "119s", "2m", "3m5s", "11m", "25h", "2d"]);
    }
}
