//! Language runtimes.

pub mod env;
pub mod exec;
mod here;
pub mod hook;
pub mod shell;
pub mod shims;
