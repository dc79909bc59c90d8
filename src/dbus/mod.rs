//! The D-Bus interfaces, proxies, names and errors.

pub mod activity;
pub mod arguments;
pub mod aur;
pub mod aur_client;
pub mod callers;
pub mod client;
mod connect;
mod dictionaries;
mod dump;
pub mod error;
pub mod job;
pub mod manager;
pub mod names;
pub mod network;
pub mod plan;
pub mod planned;
pub mod proxy;
mod refresh;
pub mod reply;
mod rows;
mod running;
pub mod runtimes;
pub mod runtimes_client;
pub mod served;
pub mod socket;
mod stream;
pub mod transaction;
