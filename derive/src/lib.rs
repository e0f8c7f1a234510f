//! `#[derive(Tree)]` for lazuli.
//!
//! Written against `proc_macro` alone, so that it costs no build time: `parse` reads a struct or enum, and this file prints the
//! impl. Code for a field carries the field's location, so that an error about its type points at the field.

mod fingerprint;
mod parse;

use parse::{Body, Field, Input, Mark, Param};
use proc_macro::{Group, Literal, Span, TokenStream, TokenTree};

/// Makes a struct or enum of trees a `lazuli::Tree`.
///
/// Every field must be a tree, unless marked:
/// - `#[tree(frozen)]`: its tensors are inputs of transforms but are not differentiated;
/// - `#[tree(skip)]`: it holds no tensors, need not be a tree, and is cloned along.
///
/// The variant of an enum is static: `jit` records again when it changes.
#[proc_macro_derive(Tree, attributes(tree))]
pub fn derive_tree(input: TokenStream) -> TokenStream {
    match parse::input(input) {
        Ok(input) => expand(&input),
        Err(e) => e.into_tokens(),
    }
}

/// A text that another state of the calling crate's sources has not: for files that only the same build may read. Expanded anew whenever
/// one of them changes, because the crate is compiled anew then.
#[doc(hidden)]
#[proc_macro]
pub fn fingerprint(_: TokenStream) -> TokenStream {
    TokenTree::Literal(Literal::string(&fingerprint::of_sources())).into()
}

const TREE: &str = "::lazuli::function::tree";

fn tokens(code: &str) -> TokenStream {
    code.parse().expect("the derive macro prints Rust")
}

/// `code` as if written at `at`, with names looked up as at the derive.
fn tokens_at(code: &str, at: Span) -> TokenStream {
    fn respan(s: TokenStream, at: Span) -> TokenStream {
        s.into_iter()
            .map(|t| match t {
                TokenTree::Group(g) => {
                    let mut h = Group::new(g.delimiter(), respan(g.stream(), at));
                    h.set_span(at);
                    TokenTree::Group(h)
                }
                mut t => {
                    t.set_span(at);
                    t
                }
            })
            .collect()
    }
    respan(tokens(code), Span::call_site().located_at(at))
}

fn braced(s: TokenStream) -> TokenTree {
    TokenTree::Group(Group::new(proc_macro::Delimiter::Brace, s))
}

fn expand(input: &Input) -> TokenStream {
    let (generics, arguments) = generics(&input.params);
    let mut out = tokens(&format!(
        "#[automatically_derived] #[allow(deprecated, clippy::all)] impl{generics} {TREE}::Tree for {}{arguments}",
        input.name
    ));
    out.extend(tokens("where"));
    out.extend(input.predicates.clone());
    out.extend(bounds(input));

    let mut visit = tokens(&format!("fn visit(&self, __v: &mut dyn {TREE}::TreeVisitor)"));
    let mut map = tokens(&format!("fn map(&self, __f: &mut dyn {TREE}::TreeMapper) -> Self"));
    let (visits, maps) = match &input.body {
        Body::Struct(fields) => (arm("Self", fields, None).0, arm("Self", fields, None).1),
        // Nothing to match: the value cannot exist.
        Body::Enum(variants) if variants.is_empty() => (tokens("match *self {}"), tokens("match *self {}")),
        Body::Enum(variants) => {
            let (mut visits, mut maps) = (TokenStream::new(), TokenStream::new());
            for v in variants {
                let (a, b) = arm(&format!("Self::{}", v.name), &v.fields, Some(&v.name));
                visits.extend(a);
                maps.extend(b);
            }
            (visits, maps)
        }
    };
    let matched = |arms: TokenStream| match &input.body {
        Body::Enum(v) if v.is_empty() => arms,
        _ => tokens("match self").into_iter().chain([braced(arms)]).collect(),
    };
    visit.extend([braced(matched(visits))]);
    map.extend([braced(matched(maps))]);
    visit.extend(map);
    out.extend([braced(visit)]);
    out.extend(jacobian(input, &arguments));
    out
}

/// The impl of `HasJacobian`: the derivatives of a struct's tensors by their paths.
fn jacobian(input: &Input, arguments: &str) -> TokenStream {
    let mut params = format!("__I: {TREE}::Tree");
    input.params.iter().for_each(|p| params.push_str(&format!(", {}", p.declaration)));
    let mut out = tokens(&format!(
        "#[automatically_derived] #[allow(deprecated, clippy::all)] impl<{params}> ::lazuli::function::HasJacobian<__I> for {}{arguments} where",
        input.name
    ));
    out.extend(input.predicates.clone());
    out.extend(bounds(input));
    out.extend([braced(tokens(
        "type Jacobian = ::lazuli::function::Blocks<__I>; \
         fn jacobian(&self, __next: &mut dyn FnMut(&::lazuli::Tensor) -> __I) -> Self::Jacobian { ::lazuli::function::Blocks::of(self, __next) }",
    ))]);
    out
}

/// The match arms of `visit` and `map` for one constructor. Positions serve as names of unnamed fields.
fn arm(path: &str, fields: &[Field], variant: Option<&str>) -> (TokenStream, TokenStream) {
    let pattern: String = fields.iter().enumerate().map(|(n, f)| format!("{}: __{n},", f.name)).collect();
    let head = tokens(&format!("{path} {{ {pattern} }} =>"));
    let (mut visits, mut values) = (TokenStream::new(), TokenStream::new());
    if let Some(name) = variant {
        visits.extend(tokens(&format!("__v.leaf({TREE}::Leaf::Static(&{:?}));", name.trim_start_matches("r#"))));
    }
    for (n, f) in fields.iter().enumerate() {
        let shown = f.name.trim_start_matches("r#");
        let (visit, map) = match f.mark {
            Mark::None => (format!("{TREE}::Tree::visit(__{n}, __v)"), format!("{TREE}::Tree::map(__{n}, __f)")),
            Mark::Frozen => (format!("{TREE}::visit_frozen(__{n}, __v)"), format!("{TREE}::map_frozen(__{n}, __f)")),
            Mark::Skip => {
                visits.extend(tokens(&format!("let _ = __{n};")));
                values.extend(tokens_at(&format!("{}: ::core::clone::Clone::clone(__{n}),", f.name), f.span));
                continue;
            }
        };
        visits.extend(tokens_at(&format!("__v.enter({shown:?}); {visit}; __v.leave();"), f.span));
        values.extend(tokens_at(&format!("{}: {{ __f.enter({shown:?}); let y = {map}; __f.leave(); y }},", f.name), f.span));
    }
    let value: TokenStream = tokens(path).into_iter().chain([braced(values)]).collect();
    (head.clone().into_iter().chain([braced(visits)]).collect(), head.into_iter().chain([braced(value)]).collect())
}

/// `<T: Bound, const N: usize>` and `<T, N>`.
fn generics(params: &[Param]) -> (String, String) {
    if params.is_empty() {
        return (String::new(), String::new());
    }
    let join = |f: &dyn Fn(&Param) -> &str| params.iter().map(f).collect::<Vec<_>>().join(", ");
    (format!("<{}>", join(&|p| &p.declaration)), format!("<{}>", join(&|p| &p.name)))
}

/// What the type parameters must be for the fields to be trees. A bound on the parameter where that is enough, so that no
/// private type shows in a public impl; a bound on the field's type where it projects from the parameter (`T::Item`).
fn bounds(input: &Input) -> TokenStream {
    let mut out = TokenStream::new();
    let fields: Vec<&Field> = match &input.body {
        Body::Struct(fields) => fields.iter().collect(),
        Body::Enum(variants) => variants.iter().flat_map(|v| &v.fields).collect(),
    };
    for p in input.params.iter().filter(|p| !p.is_const) {
        out.extend(tokens(&format!("{}: 'static,", p.name)));
        let (mut tree, mut clone) = (false, false);
        for f in &fields {
            match (f.mark, parse::mentions(&f.ty, &p.name)) {
                (_, parse::Mention::No) => {}
                (Mark::Skip, _) => clone = true,
                (_, parse::Mention::Plain) => tree = true,
                (_, parse::Mention::Projected) => {
                    out.extend(f.ty.clone());
                    out.extend(tokens(&format!(": {TREE}::Tree,")));
                }
            }
        }
        if tree {
            out.extend(tokens(&format!("{}: {TREE}::Tree,", p.name)));
        }
        if clone {
            out.extend(tokens(&format!("{}: ::core::clone::Clone,", p.name)));
        }
    }
    out
}
