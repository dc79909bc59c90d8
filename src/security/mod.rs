//! What is trusted and why, and the record of who did what.

pub mod audit;
pub mod environment;
