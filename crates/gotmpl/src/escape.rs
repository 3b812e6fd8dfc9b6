//! Escaping for HTML, JavaScript and URL queries.
//!
//! Owns the three functions Go has built in.

use weir_gocompat::is_print;

/// `html`.
pub(crate) fn html(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for b in bytes {
        match b {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            _ => out.push(*b),
        }
    }
    out
}

/// `js`.
pub(crate) fn js(bytes: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | '\'' | '"' => {
                    out.push('\\');
                    out.push(c);
                }
                '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
                _ if c < ' ' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
                _ if c.is_ascii() || is_print(c) => out.push(c),
                _ => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            }
        }
        // Go prints what is not UTF-8 as the replacement character, which is printable: the byte itself stays.
        if !chunk.invalid().is_empty() {
            let mut so_far = std::mem::take(&mut out).into_bytes();
            so_far.extend_from_slice(chunk.invalid());
            return join(so_far, bytes, chunk.valid().len() + chunk.invalid().len());
        }
    }
    out.into_bytes()
}

/// Goes on after bytes that are not text.
fn join(mut done: Vec<u8>, bytes: &[u8], from: usize) -> Vec<u8> {
    done.extend(js(bytes.get(from..).unwrap_or_default()));
    done
}

/// `urlquery`.
pub(crate) fn urlquery(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for b in bytes {
        match b {
            b' ' => out.push(b'+'),
            b'-' | b'_' | b'.' | b'~' => out.push(*b),
            _ if b.is_ascii_alphanumeric() => out.push(*b),
            _ => out.extend_from_slice(format!("%{b:02X}").as_bytes()),
        }
    }
    out
}
