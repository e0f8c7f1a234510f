//! Functions over closures.
