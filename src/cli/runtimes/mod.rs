//! Language runtimes.

pub mod args;
pub mod env;
pub mod exec;
mod here;
pub mod hook;
pub mod install;
pub mod keys;
pub mod pin;
pub mod shell;
pub mod shims;
mod tracked;
pub mod uninstall;
pub mod versions;
pub mod which;

pub(super) use here::paths;
