//! Language runtimes: which versions there are, which a folder wants, getting, checking and switching them.
//!
//! - [`Runtime`], [`Version`], [`Request`]: what is asked for, by each ecosystem's own rules
//! - [`files`]: what the files of a folder ask for
//! - [`fetch`], [`verify`], [`unpack`]: an archive comes, is checked, and is laid out
//! - [`sources`]: where each upstream has what, and how it vouches for it
//! - [`environment`]: which folders go on PATH, and which variables are set
//! - [`trust`]: the files that may be handed to mise

pub mod environment;
mod extras;
pub mod fetch;
pub mod files;
mod host;
mod layout;
mod name;
mod range;
mod release;
mod request;
pub mod sources;
pub mod trust;
pub mod unpack;
pub mod verify;
mod version;

pub use extras::Extras;
pub use host::{Arch, Host, Libc};
pub use layout::Layout;
pub use name::{BadName, Native, Runtime};
pub use release::Release;
pub use request::Request;
pub use version::{Version, VersionError};
