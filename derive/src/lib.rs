//! `#[derive(Tree)]` for lazuli.
