//! Language runtimes: which versions there are, which a folder wants, getting, checking and switching them.
//!
//! - [`Runtime`], [`Version`], [`Request`]: what is asked for, by each ecosystem's own rules
//! - [`files`]: what the files of a folder ask for
//! - [`fetch`], [`verify`], [`unpack`]: an archive comes, is checked, and is laid out
//! - [`Runtimes`]: who manages which
//! - [`Layout`]: `versions/<runtime>/<version>` and `versions/<runtime>/current`
//! - [`sources`]: where each upstream has what, and how it vouches for it
//! - [`RuntimeManager`]: what can be done with a runtime, whoever manages it
//! - [`environment`]: which folders go on PATH, and which variables are set

mod all;
pub mod environment;
mod error;
mod extras;
pub mod fetch;
pub mod files;
mod host;
mod layout;
mod manager;
pub mod mise;
mod name;
mod native;
mod range;
pub mod record;
mod release;
mod request;
mod resolver;
mod room;
pub mod sources;
pub mod unpack;
pub mod variables;
pub mod verify;
mod version;

pub use all::Runtimes;
pub use error::RuntimeError;
pub use extras::Extras;
pub use host::{Arch, Host, Libc};
pub use layout::{Held, Layout, LayoutError};
pub use manager::{Asking, Installed, Listener, RuntimeManager, Stage, Wanted};
pub use name::{BadName, Native, Runtime};
pub use native::NativeManager;
pub use range::Range;
pub use release::Release;
pub use request::{Channel, Request};
pub use resolver::Resolver;
pub use version::{Numbers, Version, VersionError};

/// An index of versions is not asked for again within this time, unless somebody wants to know how it is now.
const FRESH: std::time::Duration = std::time::Duration::from_secs(3600);

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is in there is never left half done.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
