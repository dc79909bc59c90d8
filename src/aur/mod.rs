//! The Arch User Repository: what it says about its packages, and how it is asked.
//!
//! Everything that comes from there is untrusted: packages whose names could become something else than names are dropped
//! where they are read.

mod archive;
mod details;
mod fetch;
mod package;
mod rpc;

pub use archive::{ARCHIVE, ArchiveError, read_archive};
pub use details::REPOSITORY;
pub use fetch::{Fetched, Http, HttpError, Validators};
pub use package::{AurPackage, is_package_name};
