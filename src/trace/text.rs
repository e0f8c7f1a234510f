//! Of traces.
