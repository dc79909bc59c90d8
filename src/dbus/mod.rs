//! The D-Bus interfaces, proxies, names and errors.

pub mod activity;
pub mod arguments;
pub mod client;
mod connect;
mod dictionaries;
mod dump;
pub mod error;
pub mod manager;
pub mod names;
pub mod planned;
pub mod proxy;
pub mod reply;
mod rows;
mod running;
mod stream;
pub mod transaction;
