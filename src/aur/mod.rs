//! The Arch User Repository: what it says about its packages, and building them.

mod build;
mod error;
mod git;
mod keys;
pub mod order;
mod package;
mod record;
mod sandbox;
mod srcinfo;

pub use build::{Listener, Review, Stage, Workshop};
pub use error::AurError;
pub use git::is_commit;
pub use package::{AurPackage, is_package_name};
pub use record::{Build, Built, Record, Records};
pub use srcinfo::SrcInfo;
