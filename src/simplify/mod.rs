//! Trace to trace.
