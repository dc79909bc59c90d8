//! The Arch User Repository: what it says about its packages.

mod package;

pub use package::{AurPackage, is_package_name};
