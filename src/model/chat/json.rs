//! The `tojson` filter of chat templates: Python's `json.dumps(value, ensure_ascii=False, ...)`, not Jinja's filter for
//! HTML.

use std::fmt::Write;

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};

/// How to lay JSON out, as the arguments of `json.dumps`.
struct Style {
    ascii: bool,
    indent: Option<String>,
    between: String,
    colon: String,
    sorted: bool,
}

/// The filter. As in transformers, the one positional argument is `ensure_ascii`.
#[expect(clippy::needless_pass_by_value, reason = "the signature of a filter")]
pub(super) fn tojson(value: Value, ascii: Option<bool>, options: Kwargs) -> Result<String, Error> {
    let value = serde_json::to_value(&value)
        .map_err(|cause| Error::new(ErrorKind::InvalidOperation, "a value has no JSON form").with_source(cause))?;
    let indent = match options.get::<Option<Value>>("indent")?.filter(|indent| !indent.is_none()) {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(usize::try_from(indent)?.min(64)),
        }),
    };
    let (between, colon) = match options.get::<Option<Vec<String>>>("separators")?.as_deref() {
        Some([between, colon]) => (between.clone(), colon.clone()),
        _ if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        _ => (", ".to_owned(), ": ".to_owned()),
    };
    let ascii = options.get::<Option<bool>>("ensure_ascii")?.or(ascii).unwrap_or(false);
    let style =
        Style { ascii, indent, between, colon, sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false) };
    options.assert_all_used()?;
    let mut text = String::new();
    style.write(&value, 0, &mut text);
    Ok(text)
}

impl Style {
    fn write(&self, value: &serde_json::Value, depth: usize, out: &mut String) {
        match value {
            serde_json::Value::Null => *out += "null",
            serde_json::Value::Bool(flag) => *out += if *flag { "true" } else { "false" },
            serde_json::Value::Number(number) => *out += &python_number(number),
            serde_json::Value::String(text) => self.string(text, out),
            serde_json::Value::Array(items) => self.block(['[', ']'], items.iter(), depth, out, |item, out| {
                self.write(item, depth + 1, out);
            }),
            serde_json::Value::Object(keys) => {
                let mut entries: Vec<_> = keys.iter().collect();
                if self.sorted {
                    entries.sort_by_key(|(key, _)| *key);
                }
                self.block(['{', '}'], entries.into_iter(), depth, out, |(key, value), out| {
                    self.string(key, out);
                    *out += &self.colon;
                    self.write(value, depth + 1, out);
                });
            }
        }
    }

    fn block<T>(
        &self,
        [open, close]: [char; 2],
        items: impl ExactSizeIterator<Item = T>,
        depth: usize,
        out: &mut String,
        mut write: impl FnMut(T, &mut String),
    ) {
        let newline = |depth: usize, out: &mut String| {
            if let Some(indent) = &self.indent {
                out.push('\n');
                *out += &indent.repeat(depth);
            }
        };
        let empty = items.len() == 0;
        out.push(open);
        for (index, item) in items.enumerate() {
            if index > 0 {
                *out += &self.between;
            }
            newline(depth + 1, out);
            write(item, out);
        }
        if !empty {
            newline(depth, out);
        }
        out.push(close);
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for letter in text.chars() {
            match letter {
                '"' => *out += "\\\"",
                '\\' => *out += "\\\\",
                '\n' => *out += "\\n",
                '\r' => *out += "\\r",
                '\t' => *out += "\\t",
                '\u{8}' => *out += "\\b",
                '\u{c}' => *out += "\\f",
                // Python escapes DEL only when everything must be ASCII.
                letter if letter < ' ' || (self.ascii && letter > '~') => {
                    let mut units = [0; 2];
                    for unit in letter.encode_utf16(&mut units) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                letter => out.push(letter),
            }
        }
        out.push('"');
    }
}

/// A number as Python's `repr` writes it: `1.0`, `1e+16`, `1e-05`.
fn python_number(number: &serde_json::Number) -> String {
    let Some(value) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..16).contains(&exponent) {
        return format!("{value:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
