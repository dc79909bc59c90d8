//! Ranges of versions.
