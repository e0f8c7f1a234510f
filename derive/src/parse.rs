//! Reads the struct or enum that `#[derive(Tree)]` stands on, as far as the macro needs it.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use std::iter::Peekable;

/// A message for the user, at a place in their source.
pub struct Error {
    at: Span,
    message: String,
}

impl Error {
    /// As a call of `compile_error!`.
    pub fn into_tokens(self) -> TokenStream {
        let punct = |c, s| TokenTree::Punct(Punct::new(c, s));
        let message = TokenStream::from(TokenTree::Literal(Literal::string(&self.message)));
        let path = [
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            TokenTree::Ident(Ident::new("core", self.at)),
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            TokenTree::Ident(Ident::new("compile_error", self.at)),
            punct('!', Spacing::Alone),
            TokenTree::Group(Group::new(Delimiter::Brace, message)),
        ];
        path.into_iter()
            .map(|mut t| {
                t.set_span(self.at);
                t
            })
            .collect()
    }
}

fn error<T>(at: Span, message: impl Into<String>) -> Result<T, Error> {
    Err(Error { at, message: message.into() })
}

/// A struct or enum.
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its generic parameters.
    pub params: Vec<Param>,
    /// Its where clause, each predicate followed by a comma.
    pub predicates: TokenStream,
    /// Its fields.
    pub body: Body,
}

/// A type or const parameter.
pub struct Param {
    /// `T` or `N`.
    pub name: String,
    /// `T: Bound` or `const N: usize`, without a default.
    pub declaration: String,
    /// Whether it is a const parameter.
    pub is_const: bool,
}

/// What it holds.
pub enum Body {
    /// The fields of a struct.
    Struct(Vec<Field>),
    /// The variants of an enum.
    Enum(Vec<Variant>),
}

/// A variant of an enum.
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// A field.
pub struct Field {
    /// Its name, or its position.
    pub name: String,
    /// Its type.
    pub ty: TokenStream,
    /// Where errors about it belong: its type.
    pub span: Span,
    /// What `#[tree(..)]` says.
    pub mark: Mark,
}

/// What `#[tree(..)]` says of a field.
#[derive(Clone, Copy, PartialEq)]
pub enum Mark {
    /// Nothing.
    None,
    /// Its tensors are not differentiated.
    Frozen,
    /// It is no tree.
    Skip,
}

/// How a type uses a type parameter.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub enum Mention {
    /// Not at all, or only as a phantom.
    No,
    /// As a type.
    Plain,
    /// Also through a projection: `T::Item`, `<T as Trait>::Item`.
    Projected,
}

type Tokens = Peekable<std::vec::IntoIter<TokenTree>>;

fn stream(s: TokenStream) -> Tokens {
    s.into_iter().collect::<Vec<_>>().into_iter().peekable()
}

fn is_punct(t: Option<&TokenTree>, c: char) -> bool {
    matches!(t, Some(TokenTree::Punct(p)) if p.as_char() == c)
}

fn is_ident(t: Option<&TokenTree>, name: &str) -> bool {
    matches!(t, Some(TokenTree::Ident(i)) if i.to_string() == name)
}

/// Reads the item.
pub fn input(item: TokenStream) -> Result<Input, Error> {
    let mut t = stream(item);
    if let (Mark::Frozen | Mark::Skip, at) = attributes(&mut t)? {
        return error(at, "`#[tree(..)]` belongs on a field");
    }
    visibility(&mut t);
    let kind = match t.next() {
        Some(TokenTree::Ident(i)) => i,
        other => return error(other.map_or(Span::call_site(), |t| t.span()), "derive(Tree): expected a struct or enum"),
    };
    let what = kind.to_string();
    if what != "struct" && what != "enum" {
        return error(
            kind.span(),
            format!("derive(Tree) is for structs and enums, not for a {what}: which of its fields are live is not known"),
        );
    }
    let name = match t.next() {
        Some(TokenTree::Ident(i)) => i.to_string(),
        other => return error(other.map_or(kind.span(), |t| t.span()), "derive(Tree): expected a name"),
    };
    let params = if is_punct(t.peek(), '<') { params(&mut t)? } else { vec![] };
    let (mut predicates, mut body) = (TokenStream::new(), None);
    // `where .. { .. }`, `{ .. }`, `( .. ) where .. ;` or `;`.
    let mut in_where = false;
    for token in t {
        match token {
            TokenTree::Ident(i) if i.to_string() == "where" => in_where = true,
            TokenTree::Group(g) if g.delimiter() == Delimiter::Brace && body.is_none() => {
                body = Some(if what == "struct" { Body::Struct(fields(&g)?) } else { Body::Enum(variants(&g)?) });
            }
            TokenTree::Group(g) if g.delimiter() == Delimiter::Parenthesis && !in_where && body.is_none() => {
                body = Some(Body::Struct(fields(&g)?))
            }
            TokenTree::Punct(p) if p.as_char() == ';' => {}
            token if in_where => predicates.extend([token]),
            token => return error(token.span(), "derive(Tree): unexpected token"),
        }
    }
    let ends = predicates.clone().into_iter().last();
    if ends.is_some() && !is_punct(ends.as_ref(), ',') {
        predicates.extend([TokenTree::Punct(Punct::new(',', Spacing::Alone))]);
    }
    Ok(Input { name, params, predicates, body: body.unwrap_or(Body::Struct(vec![])) })
}

/// Skips attributes; the mark of `#[tree(..)]` and where it stands.
fn attributes(t: &mut Tokens) -> Result<(Mark, Span), Error> {
    let mut found = (Mark::None, Span::call_site());
    while is_punct(t.peek(), '#') {
        t.next();
        let Some(TokenTree::Group(g)) = t.next() else { continue };
        let mut inner = stream(g.stream());
        if !is_ident(inner.peek(), "tree") {
            continue;
        }
        inner.next();
        let list = match inner.next() {
            Some(TokenTree::Group(list)) if list.delimiter() == Delimiter::Parenthesis => list,
            _ => return error(g.span(), "expected `#[tree(frozen)]` or `#[tree(skip)]`"),
        };
        for word in list.stream() {
            let mark = match &word {
                TokenTree::Ident(i) if i.to_string() == "frozen" => Mark::Frozen,
                TokenTree::Ident(i) if i.to_string() == "skip" => Mark::Skip,
                TokenTree::Punct(p) if p.as_char() == ',' => continue,
                other => return error(other.span(), format!("unknown mark `{other}`: expected `frozen` or `skip`")),
            };
            if found.0 != Mark::None {
                return error(word.span(), "a field is marked `frozen` or `skip`, once: what is skipped holds no tensors to freeze");
            }
            found = (mark, word.span());
        }
        if found.0 == Mark::None {
            return error(g.span(), "expected `#[tree(frozen)]` or `#[tree(skip)]`");
        }
    }
    Ok(found)
}

/// Skips `pub`, `pub(crate)`, and what `$vis` of a macro leaves.
fn visibility(t: &mut Tokens) {
    if let Some(TokenTree::Group(g)) = t.peek()
        && g.delimiter() == Delimiter::None
        && (g.stream().is_empty() || is_ident(g.stream().into_iter().next().as_ref(), "pub"))
    {
        t.next();
        return;
    }
    if !is_ident(t.peek(), "pub") {
        return;
    }
    t.next();
    if let Some(TokenTree::Group(g)) = t.peek()
        && g.delimiter() == Delimiter::Parenthesis
    {
        // Not the tuple type of `pub (A, B)`.
        let first = g.stream().into_iter().next();
        if ["crate", "self", "super", "in"].iter().any(|w| is_ident(first.as_ref(), w)) {
            t.next();
        }
    }
}

/// Follows the nesting of angle brackets; `->` closes none.
#[derive(Default)]
struct Angles {
    depth: usize,
    arrow: bool,
}

impl Angles {
    fn step(&mut self, t: &TokenTree) {
        let TokenTree::Punct(p) = t else {
            self.arrow = false;
            return;
        };
        match p.as_char() {
            '<' => self.depth += 1,
            '>' if !self.arrow => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.arrow = p.as_char() == '-' && p.spacing() == Spacing::Joint;
    }
}

/// Splits at the commas that are not inside angle brackets (where `angles` counts them).
fn split(s: impl Iterator<Item = TokenTree>, angles: bool) -> Vec<Vec<TokenTree>> {
    let (mut out, mut part, mut depth) = (vec![], vec![], Angles::default());
    for t in s {
        if depth.depth == 0 && is_punct(Some(&t), ',') {
            out.push(std::mem::take(&mut part));
            continue;
        }
        if angles {
            depth.step(&t);
        }
        part.push(t);
    }
    if !part.is_empty() {
        out.push(part);
    }
    out
}

fn params(t: &mut Tokens) -> Result<Vec<Param>, Error> {
    let mut inside = Vec::new();
    let mut angles = Angles::default();
    for token in t.by_ref() {
        angles.step(&token);
        if angles.depth == 0 {
            break;
        }
        inside.push(token);
    }
    // The first is the opening bracket itself.
    split(inside.into_iter().skip(1), true).into_iter().map(param).collect()
}

fn param(tokens: Vec<TokenTree>) -> Result<Param, Error> {
    let mut t = tokens.into_iter().peekable();
    while is_punct(t.peek(), '#') {
        t.next();
        t.next();
    }
    if is_punct(t.peek(), '\'') {
        let at = t.next().map_or(Span::call_site(), |t| t.span());
        return error(at, "a Tree is 'static: hold a Tensor (cloning one is cheap) rather than a reference to one");
    }
    let is_const = is_ident(t.peek(), "const");
    if is_const {
        t.next();
    }
    let Some(TokenTree::Ident(name)) = t.next() else { return error(Span::call_site(), "derive(Tree): expected a generic parameter") };
    let (mut rest, mut angles) = (TokenStream::new(), Angles::default());
    for token in t {
        if angles.depth == 0 && is_punct(Some(&token), '=') {
            break;
        }
        angles.step(&token);
        rest.extend([token]);
    }
    let name = name.to_string();
    Ok(Param { declaration: format!("{}{name} {rest}", if is_const { "const " } else { "" }), name, is_const })
}

fn fields(g: &Group) -> Result<Vec<Field>, Error> {
    let named = g.delimiter() == Delimiter::Brace;
    split(g.stream().into_iter(), true)
        .into_iter()
        .enumerate()
        .map(|(n, tokens)| {
            let mut t = tokens.into_iter().collect::<Vec<_>>().into_iter().peekable();
            let (mark, _) = attributes(&mut t)?;
            visibility(&mut t);
            let name = match named {
                false => n.to_string(),
                true => match (t.next(), t.next()) {
                    (Some(TokenTree::Ident(i)), colon) if is_punct(colon.as_ref(), ':') => i.to_string(),
                    (other, _) => return error(other.map_or(g.span(), |t| t.span()), "derive(Tree): expected a field"),
                },
            };
            let ty: TokenStream = t.collect();
            let Some(first) = ty.clone().into_iter().next() else { return error(g.span(), "derive(Tree): a field without a type") };
            Ok(Field { name, span: first.span(), ty, mark })
        })
        .collect()
}

fn variants(g: &Group) -> Result<Vec<Variant>, Error> {
    // A discriminant may compare or shift (`A = 1 << 3`), and types are inside the fields' group: angles do not count here.
    split(g.stream().into_iter(), false)
        .into_iter()
        .map(|tokens| {
            let mut t = tokens.into_iter().collect::<Vec<_>>().into_iter().peekable();
            if let (Mark::Frozen | Mark::Skip, at) = attributes(&mut t)? {
                return error(at, "`#[tree(..)]` belongs on a field of the variant");
            }
            visibility(&mut t);
            let Some(TokenTree::Ident(name)) = t.next() else { return error(g.span(), "derive(Tree): expected a variant") };
            let fields = match t.next() {
                Some(TokenTree::Group(g)) if g.delimiter() != Delimiter::None => fields(&g)?,
                _ => vec![],
            };
            Ok(Variant { name: name.to_string(), fields })
        })
        .collect()
}

/// How the type uses the parameter.
pub fn mentions(ty: &TokenStream, param: &str) -> Mention {
    let tokens: Vec<TokenTree> = ty.clone().into_iter().collect();
    let mut found = Mention::No;
    let mut join = |m: Mention| {
        if m > found {
            found = m;
        }
    };
    let mut n = 0;
    while n < tokens.len() {
        match &tokens[n] {
            // A phantom is a tree whatever it is of.
            TokenTree::Ident(i) if i.to_string() == "PhantomData" && is_punct(tokens.get(n + 1), '<') => {
                let mut angles = Angles::default();
                n += 1;
                while n < tokens.len() {
                    angles.step(&tokens[n]);
                    if angles.depth == 0 {
                        break;
                    }
                    n += 1;
                }
            }
            TokenTree::Ident(i) if i.to_string() == param => {
                // `T::Item`, and the `T` of `<T as Trait>::Item`; but not `path::T`, which is another type.
                let after_path = n >= 2 && is_punct(tokens.get(n - 1), ':') && is_punct(tokens.get(n - 2), ':');
                let projected = is_ident(tokens.get(n + 1), "as") || (is_punct(tokens.get(n + 1), ':') && is_punct(tokens.get(n + 2), ':'));
                if !after_path {
                    join(if projected { Mention::Projected } else { Mention::Plain });
                }
            }
            TokenTree::Group(g) => join(mentions(&g.stream(), param)),
            _ => {}
        }
        n += 1;
    }
    found
}
