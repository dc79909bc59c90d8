//! Rows as they go over the wire, written straight from the shared answer.

use std::sync::Arc;

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use zbus::{Signature, Type};

use crate::package::{PackageRow, UpdateRow};

/// Name, version, arch, repository, summary, flags, download size in bytes.
pub type WireRow<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, u32, u64);
/// Name, from, to, arch, repository, summary, flags, download size in bytes.
pub type WireUpdate<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, u32, u64);

/// `a(sssssut)`.
#[derive(Debug)]
pub struct Rows(pub Arc<[PackageRow]>);

/// `a(ssssssut)`.
#[derive(Debug)]
pub struct Updates(pub Vec<UpdateRow>);

/// One row on the wire.
pub fn wire_row(row: &PackageRow) -> WireRow<'_> {
    (&row.name, &row.version, &row.arch, &row.repository, &row.summary, row.flags.bits(), row.download_size)
}

/// One upgrade on the wire.
pub fn wire_update(row: &UpdateRow) -> WireUpdate<'_> {
    (&row.name, &row.from, &row.to, &row.arch, &row.repository, &row.summary, row.flags.bits(), row.size)
}

impl Type for Rows {
    const SIGNATURE: &'static Signature = <Vec<WireRow<'static>>>::SIGNATURE;
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.0.len()))?;
        for row in self.0.iter() {
            rows.serialize_element(&wire_row(row))?;
        }
        rows.end()
    }
}

impl Type for Updates {
    const SIGNATURE: &'static Signature = <Vec<WireUpdate<'static>>>::SIGNATURE;
}

impl Serialize for Updates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.0.len()))?;
        for row in &self.0 {
            rows.serialize_element(&wire_update(row))?;
        }
        rows.end()
    }
}
