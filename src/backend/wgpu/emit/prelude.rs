//! The library of functions that emitted modules use: each module gets those it calls, and what they call.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

struct Function {
    text: &'static str,
    order: usize,
    calls: Vec<&'static str>,
}

/// Functions by name.
static LIBRARY: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let files = [
        include_str!("../../../../shaders/float.wgsl"),
        include_str!("../../../../shaders/integer.wgsl"),
        include_str!("../../../../shaders/double.wgsl"),
        include_str!("../../../../shaders/double_exp.wgsl"),
        include_str!("../../../../shaders/double_trig.wgsl"),
    ];
    let mut found: HashMap<&'static str, Function> = HashMap::new();
    for file in files {
        // A function begins and ends at the margin; comments above it are for the reader of the library.
        let mut rest = file;
        while let Some(at) = rest.find("\nfn ") {
            let from = &rest[at + 1..];
            let end = from.find("\n}\n").map_or(from.len(), |e| e + 3);
            let text = &from[..end];
            let name = words(text).nth(1).unwrap_or_default();
            found.insert(name, Function { text, order: found.len(), calls: Vec::new() });
            rest = &from[end - 1..];
        }
    }
    let names: Vec<&'static str> = found.keys().copied().collect();
    for f in found.values_mut() {
        let own: BTreeSet<&str> = words(f.text).skip(2).collect();
        f.calls = names.iter().copied().filter(|n| own.contains(n)).collect();
    }
    found
});

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| !w.is_empty())
}

/// The functions that `body` needs, in the library's order.
pub fn needed(body: &str) -> String {
    let mut todo: Vec<&str> = words(body).filter(|w| LIBRARY.contains_key(w)).collect();
    let mut found: BTreeSet<(usize, &'static str)> = BTreeSet::new();
    while let Some(name) = todo.pop() {
        let f = &LIBRARY[name];
        if found.insert((f.order, f.text)) {
            todo.extend(&f.calls);
        }
    }
    found.into_iter().map(|(_, text)| text.to_string() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_brings_what_it_calls() {
        let text = needed("let y = f_tanh(x);");
        for name in ["fn f_tanh(", "fn exp_rest(", "fn copysign(", "fn is_nan("] {
            assert_eq!(text.matches(name).count(), 1, "{name}\n{text}");
        }
        assert!(!text.contains("fn f_sin(") && needed("let y = x + 1.0;").is_empty());
        assert!(LIBRARY.len() > 80, "{}", LIBRARY.len());
    }
}
