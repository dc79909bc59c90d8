//! What several test targets share.

pub mod apt_root;
pub mod daemon;
