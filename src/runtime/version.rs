//! Versions, ordered as each ecosystem orders its own.
