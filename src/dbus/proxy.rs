//! Typed proxy of `org.omg.PackageManager1`, and the rows it carries as domain types.

use std::collections::HashMap;

use zbus::{OwnedFd, OwnedObjectPath, OwnedVariant, Variant};

use super::planned::WireHistory;
use crate::package::{Flags, PackageRow, UpdateRow};

/// Options and queries: keys that the service does not know are ignored.
pub type Options<'a> = HashMap<&'a str, Variant<'a>>;
/// Details and status.
pub type Fields = HashMap<String, OwnedVariant>;
/// Name, version, arch, repository, summary, flags, download size in bytes.
pub type WireRow = (String, String, String, String, String, u32, u64);
/// Name, from, to, arch, repository, summary, flags, download size in bytes.
pub type WireUpdate = (String, String, String, String, String, String, u32, u64);

/// Build it without a property cache: a short-lived client wants no subscription and no `GetAll`.
#[zbus::proxy(
    interface = "org.omg.PackageManager1",
    default_service = "org.omg.PackageManager1",
    default_path = "/org/omg/PackageManager1"
)]
pub trait PackageManager {
    /// Packages that match all the terms, best first.
    fn search(&self, terms: &[&str], options: &Options<'_>) -> zbus::Result<Vec<WireRow>>;
    /// Packages for which every condition of the query holds.
    fn list(&self, query: &Options<'_>) -> zbus::Result<Vec<WireRow>>;
    /// The read end of a pipe of JSON lines.
    fn query_fd(&self, query: &Options<'_>) -> zbus::Result<OwnedFd>;
    /// Generation of the snapshot, and the available upgrades.
    fn get_updates(&self, options: &Options<'_>) -> zbus::Result<(u64, Vec<WireUpdate>)>;
    /// Package names that start with the prefix.
    fn suggest(&self, prefix: &str, limit: u32) -> zbus::Result<Vec<String>>;
    /// Path and package.
    fn owner(&self, paths: &[&str], options: &Options<'_>) -> zbus::Result<Vec<(String, String)>>;
    /// Paths.
    fn files(&self, name: &str, options: &Options<'_>) -> zbus::Result<Vec<String>>;
    /// Groups as (name, members, how many of them are installed).
    fn groups(&self, options: &Options<'_>) -> zbus::Result<Vec<(String, u32, u32)>>;
    fn status(&self) -> zbus::Result<Fields>;
    /// Requests as (method, its arguments as a structure); answers as (ok, results or (error name, message)).
    fn batch(&self, requests: &[(&str, Variant<'_>)]) -> zbus::Result<Vec<(bool, OwnedVariant)>>;
    /// Transactions, newest first.
    fn history(&self, options: &Options<'_>) -> zbus::Result<Vec<WireHistory>>;
    fn clear_cache(&self) -> zbus::Result<()>;
    fn metrics(&self) -> zbus::Result<Fields>;
    /// A job that brings up to date what takes no rights.
    fn refresh(&self, options: &Options<'_>) -> zbus::Result<OwnedObjectPath>;
    /// Why the AUR's packages may not be up to date; empty when they are.
    #[zbus(property)]
    fn aur_problem(&self) -> zbus::Result<String>;
}

/// The row as a domain type; flags that this version does not know are dropped.
pub fn package_row((name, version, arch, repository, summary, flags, download_size): WireRow) -> PackageRow {
    let flags = Flags::from_bits_truncate(flags);
    PackageRow { name, version, arch, repository, summary, flags, download_size }
}

/// The row as a domain type; flags that this version does not know are dropped.
pub fn update_row((name, from, to, arch, repository, summary, flags, size): WireUpdate) -> UpdateRow {
    let flags = Flags::from_bits_truncate(flags);
    UpdateRow { name, from, to, arch, repository, summary, flags, size }
}
