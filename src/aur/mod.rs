//! The Arch User Repository: what it says about its packages, how it is asked, and building them.
//!
//! Everything that comes from there is untrusted: packages whose names could become something else than names are dropped
//! where they are read.

mod archive;
mod build;
mod details;
mod devel;
mod error;
mod fetch;
mod git;
mod keys;
pub mod order;
mod package;
mod record;
mod remove;
mod rpc;
mod sandbox;
mod srcinfo;

pub use archive::{ARCHIVE, ArchiveError, read_archive};
pub use build::{Listener, Review, Stage, Workshop};
pub use details::REPOSITORY;
pub use devel::Moved;
pub use error::AurError;
pub use fetch::{Fetched, Http, HttpError, Validators};
pub use git::is_commit;
pub use package::{AurPackage, is_package_name};
pub use record::{Build, Built, Record, Records};
pub use rpc::{SearchBy, is_search};
pub use srcinfo::SrcInfo;
