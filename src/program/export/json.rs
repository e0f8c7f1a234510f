//! JSON as a manifest needs it: written only, one entry of a list a line.

use std::fmt::{self, Display, Formatter, Write};

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Json {
    Number(u64),
    Bool(bool),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

impl From<u64> for Json {
    fn from(n: u64) -> Json {
        Json::Number(n)
    }
}

impl From<u32> for Json {
    fn from(n: u32) -> Json {
        Json::Number(n as u64)
    }
}

impl From<usize> for Json {
    fn from(n: usize) -> Json {
        Json::Number(n as u64)
    }
}

impl From<bool> for Json {
    fn from(b: bool) -> Json {
        Json::Bool(b)
    }
}

impl From<&str> for Json {
    fn from(s: &str) -> Json {
        Json::Text(s.to_string())
    }
}

impl From<String> for Json {
    fn from(s: String) -> Json {
        Json::Text(s)
    }
}

impl<T: Into<Json>> FromIterator<T> for Json {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Json {
        Json::List(items.into_iter().map(Into::into).collect())
    }
}

/// Levels whose entries get lines of their own.
const LINES: usize = 2;

impl Display for Json {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Json {
    fn write(&self, f: &mut Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Json::Number(n) => write!(f, "{n}"),
            Json::Bool(b) => write!(f, "{b}"),
            Json::Text(s) => quoted(f, s),
            Json::List(items) => entries(f, depth, ['[', ']'], items, |f, item| item.write(f, depth + 1)),
            Json::Object(fields) => entries(f, depth, ['{', '}'], fields, |f, (name, value)| {
                quoted(f, name)?;
                f.write_str(": ")?;
                value.write(f, depth + 1)
            }),
        }
    }
}

fn entries<T>(
    f: &mut Formatter<'_>,
    depth: usize,
    [open, close]: [char; 2],
    items: &[T],
    mut write: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    let lines = depth < LINES && !items.is_empty();
    f.write_char(open)?;
    for (n, item) in items.iter().enumerate() {
        match (lines, n) {
            (true, _) => write!(f, "{}\n{:width$}", if n > 0 { "," } else { "" }, "", width = 2 * (depth + 1))?,
            (false, 0) => {}
            (false, _) => f.write_str(", ")?,
        }
        write(f, item)?;
    }
    if lines {
        write!(f, "\n{:width$}", "", width = 2 * depth)?;
    }
    f.write_char(close)
}

fn quoted(f: &mut Formatter<'_>, s: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in s.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if (c as u32) < 0x20 => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn what_is_written_reads_back() {
        let awkward: String = (0..0x80u8).map(char::from).chain("é \u{2028} 🦀 \\u0041".chars()).collect();
        let all = Json::Object(vec![
            ("none", Json::List(Vec::new())),
            ("numbers", [0u64, 1, (1 << 53) - 1].into_iter().collect()),
            ("texts", [awkward.as_str(), ""].into_iter().collect()),
            (
                "nested",
                Json::List(vec![Json::Object(vec![
                    ("yes", true.into()),
                    ("deep", [[1u32, 2], [3, 4]].map(|p| p.into_iter().collect::<Json>()).into_iter().collect()),
                ])]),
            ),
        ]);
        let want = serde_json::json!({
            "none": [], "numbers": [0u64, 1, 9007199254740991u64], "texts": [awkward, ""], "nested": [{"yes": true, "deep": [[1, 2], [3, 4]]}]
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&all.to_string()).unwrap(), want);
    }
}
