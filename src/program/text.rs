//! The text form of a program:
//!
//! ```text
//! lazuli program 1
//! input x0
//! draws 12                  // only if it draws random numbers: how many counters a run takes
//! weight w0                 // in the order of the trace's inputs
//! weights 0badcafe          // checksum of the weights, which lie beside the text
//! output 0
//! body
//! %0 = input 0 : f32[3, 2]
//! ...
//! return %9
//! end 8badf00d
//! ```
//!
//! The first line names the version. The last holds the checksum of all before it; whoever writes a program by hand puts `end unchecked`. Names
//! are percent-encoded. Types are those of the trace, whose own form `trace::text` describes.

use super::Program;
use crate::base::error::{bail, err};
use crate::trace::Trace;
use crate::{Error, Result, Tensor};
use flate2::Crc;
use std::fmt::{self, Display, Formatter, Write};
use std::str::FromStr;

/// The version this code writes, and the latest it reads.
pub(super) const VERSION: u32 = 1;
pub(super) const HEAD: &str = "lazuli program ";

pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn encoded(name: &str) -> String {
    let mut out = String::new();
    for b in name.bytes() {
        match b {
            b'!'..=b'~' if b != b'%' => out.push(b as char),
            _ => {
                let _ = write!(out, "%{b:02x}");
            }
        }
    }
    out
}

fn decoded(text: &str) -> Result<String> {
    let bad = || err!(Format, "`{}` is no name", &text.chars().take(40).collect::<String>());
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| (b as char).to_digit(16)).ok_or_else(bad);
        out.push((digit(bytes.next())? * 16 + digit(bytes.next())?) as u8);
    }
    String::from_utf8(out).map_err(|_| bad())
}

impl Program {
    /// The text form, with the checksum of the weights beside it.
    pub(super) fn text(&self, weights: Option<u32>) -> String {
        let mut out = format!("{HEAD}{VERSION}\n");
        let mut line = |what: &str, value: &str| {
            let _ = writeln!(out, "{what} {value}");
        };
        self.inputs.iter().for_each(|n| line("input", &encoded(n)));
        if self.draws > 0 {
            line("draws", &self.draws.to_string());
        }
        self.weights.iter().for_each(|w| line("weight", &encoded(&w.0)));
        if let Some(sum) = weights {
            line("weights", &format!("{sum:08x}"));
        }
        self.outputs.iter().for_each(|n| line("output", &encoded(n)));
        let _ = write!(out, "body\n{}", self.trace);
        let sum = checksum(out.as_bytes());
        let _ = writeln!(out, "end {sum:08x}");
        out
    }
}

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(None))
    }
}

/// What a text says.
pub(super) struct Parsed {
    trace: Trace,
    inputs: Vec<String>,
    outputs: Vec<String>,
    weights: Vec<String>,
    draws: u64,
    /// The checksum the weights must have.
    pub sum: Option<u32>,
}

/// Reads a text: nothing in it is trusted.
pub(super) fn parse(text: &str) -> Result<Parsed> {
    let Some(version) = text.strip_prefix(HEAD).and_then(|rest| rest.lines().next()) else {
        bail!(Format, "not a program: the first line is not `{HEAD}{VERSION}`");
    };
    match version.trim().parse::<u32>() {
        Ok(v) if v > VERSION => bail!(Format, "written by a newer version: form {v}, this one reads up to {VERSION}"),
        Ok(VERSION) => {}
        _ => bail!(Format, "`{}` is no version of a program", version.chars().take(40).collect::<String>()),
    }
    let cut = || err!(Format, "the program is cut: it does not end with an `end` line");
    // The last line.
    let whole = text.strip_suffix('\n').ok_or_else(cut)?;
    let at = whole.rfind('\n').ok_or_else(cut)? + 1;
    let (content, last) = (&text[..at], &whole[at..]);
    let sum = last.strip_prefix("end ").ok_or_else(cut)?;
    if sum != "unchecked" && u32::from_str_radix(sum, 16) != Ok(checksum(content.as_bytes())) {
        bail!(Format, "the program was changed: its checksum is not that of its last line");
    }
    let mut p = Parsed { trace: Trace::new(), inputs: vec![], outputs: vec![], weights: vec![], draws: 0, sum: None };
    let mut lines = content.lines().enumerate().skip(1);
    let body = loop {
        let Some((n, line)) = lines.next() else { bail!(Format, "the program has no `body` line") };
        let (what, value) = line.split_once(' ').unwrap_or((line, ""));
        let located = |e: Error| err!(Format, "line {}: {}", n + 1, e.message());
        match what {
            "body" => break n + 1,
            "input" => p.inputs.push(decoded(value).map_err(located)?),
            "output" => p.outputs.push(decoded(value).map_err(located)?),
            "weight" => p.weights.push(decoded(value).map_err(located)?),
            "draws" => p.draws = value.parse().map_err(|_| located(err!(Format, "no number of draws")))?,
            "weights" => p.sum = Some(u32::from_str_radix(value, 16).map_err(|_| located(err!(Format, "no checksum of weights")))?),
            _ => return Err(located(err!(Format, "expected `input`, `output`, `weight`, `weights`, `draws` or `body`"))),
        }
    };
    // Blank lines in front, so that errors name the lines of the whole text.
    let start = content.split_inclusive('\n').take(body).map(str::len).sum::<usize>();
    let mut padded = "\n".repeat(body);
    padded.push_str(&content[start..]);
    p.trace = padded.parse()?;
    Ok(p)
}

impl Parsed {
    /// The program; `value` gives each weight by its name.
    pub fn program(self, mut value: impl FnMut(&str) -> Result<Tensor>) -> Result<Program> {
        let first = self.inputs.len() + if self.draws > 0 { 2 } else { 0 };
        if self.trace.inputs.len() != first + self.weights.len() {
            bail!(Format, "the trace has {} inputs for {} arguments and {} weights", self.trace.inputs.len(), first, self.weights.len());
        }
        let weights = self.weights.iter().map(|n| Ok((n.clone(), value(n)?))).collect::<Result<Vec<_>>>()?;
        Program::from_parts(self.trace, self.inputs, self.outputs, weights, self.draws).map_err(|e| err!(Format, "{}", e.message()))
    }
}

impl FromStr for Program {
    type Err = Error;

    /// Reads a program that has no weights; one that has is read from its file, or with [`Program::parse`].
    ///
    /// # Errors
    /// `Format`: cut, changed, of a newer version, or no program.
    fn from_str(text: &str) -> Result<Program> {
        Program::parse(text, std::collections::BTreeMap::new())
    }
}

impl Program {
    /// Reads the text form, given the weights by name.
    ///
    /// # Errors
    /// `Format`: cut, changed, of a newer version, no program, or the weights are not the ones it wants.
    pub fn parse(text: &str, mut weights: std::collections::BTreeMap<String, Tensor>) -> Result<Program> {
        let p = parse(text)?.program(|name| {
            weights
                .remove(name)
                .ok_or_else(|| err!(Format, "the program wants a weight named {name}: load it from its file, or give the weights"))
        })?;
        match weights.keys().next() {
            Some(name) => bail!(Format, "the program has no weight named {name}"),
            None => Ok(p),
        }
    }
}
