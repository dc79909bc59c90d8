//! package.json: `engines` (npm), `devEngines` (npm), `volta` and `packageManager` (corepack).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Contents, Undecided, Weight, line_of};
use crate::runtime::version::shown;
use crate::runtime::{Native, Runtime};

/// What the file can be about.
pub(super) const ABOUT: &[Native] = &[Native::Node, Native::Bun];

/// Values are taken apart one by one: a wrong one must not hide the others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package<'a> {
    #[serde(borrow)]
    volta: Option<&'a RawValue>,
    #[serde(borrow)]
    package_manager: Option<&'a RawValue>,
    #[serde(borrow)]
    dev_engines: Option<&'a RawValue>,
    #[serde(borrow)]
    engines: Option<&'a RawValue>,
}

type Table<'a> = BTreeMap<String, &'a RawValue>;

struct Reader<'t, 'c> {
    text: &'t str,
    contents: &'c mut Contents,
}

pub(super) fn package(text: &str, contents: &mut Contents) {
    // Most have none of these, and are not taken apart at all.
    let names = ["\"engines\"", "\"devEngines\"", "\"volta\"", "\"packageManager\""];
    if !names.iter().any(|name| memchr::memmem::find(text.as_bytes(), name.as_bytes()).is_some()) {
        return;
    }
    let package: Package<'_> = match serde_json::from_str(text) {
        Ok(package) => package,
        Err(error) => {
            let line = u32::try_from(error.line().max(1)).unwrap_or(u32::MAX);
            let message = format!("no JSON that can be read: {}", error.to_string().escape_debug());
            return contents.trouble(line, message, Undecided::AnyOf(ABOUT));
        }
    };
    let mut reader = Reader { text, contents };
    if let Some(volta) = package.volta {
        reader.volta(volta);
    }
    if let Some(manager) = package.package_manager
        && let Some(text) = reader.string(manager, "packageManager", Native::Bun.into())
        && let Some(version) = text.strip_prefix("bun@")
    {
        // A checksum may follow: `1.1.0+sha224.…`.
        let version = version.split_once('+').map_or(version, |(version, _)| version);
        reader.contents.wish(&Native::Bun.into(), version, line(reader.text, manager), Weight::Pinned);
    }
    if let Some(engines) = package.dev_engines {
        reader.dev_engines(engines);
    }
    if let Some(engines) = package.engines
        && let Some(engines) = reader.table(engines, "engines")
    {
        for native in [Native::Node, Native::Bun] {
            if let Some(value) = engines.get(native.as_str()) {
                reader.version(&native.into(), value, &format!("engines.{native}"), Weight::Bound);
            }
        }
    }
}

impl Reader<'_, '_> {
    fn volta(&mut self, volta: &RawValue) {
        let Some(volta) = self.table(volta, "volta") else { return };
        match (volta.get("node"), volta.get("extends")) {
            (Some(value), _) => self.version(&Native::Node.into(), value, "volta.node", Weight::Pinned),
            (None, Some(value)) => {
                self.contents.lost(&Native::Node.into(), line(self.text, value), "volta.extends is not followed");
            }
            (None, None) => {}
        }
    }

    /// `runtime` is one or several of `{"name": "node", "version": "^20"}`.
    fn dev_engines(&mut self, engines: &RawValue) {
        let Some(engines) = self.table(engines, "devEngines") else { return };
        let Some(runtime) = engines.get("runtime") else { return };
        let runtimes: Vec<&RawValue> = serde_json::from_str(runtime.get()).unwrap_or_else(|_| vec![*runtime]);
        for value in runtimes {
            // Places are told by addresses in the text, which a value of a value has as well.
            let Some(table) = self.table(value, "devEngines.runtime") else { continue };
            let (Some(name), Some(version)) = (table.get("name"), table.get("version")) else { continue };
            let Some(name) = self.string(name, "devEngines.runtime.name", Native::Node.into()) else { continue };
            if let Ok(runtime) = Runtime::parse(&name) {
                self.version(&runtime, version, "devEngines.runtime.version", Weight::Bound);
            }
        }
    }

    fn version(&mut self, runtime: &Runtime, value: &RawValue, key: &str, weight: Weight) {
        if let Some(version) = self.string(value, key, runtime.clone()) {
            self.contents.wish(runtime, &version, line(self.text, value), weight);
        }
    }

    /// A string that says something about `runtime`.
    fn string(&mut self, value: &RawValue, key: &str, runtime: Runtime) -> Option<String> {
        let string = serde_json::from_str(value.get()).ok();
        self.or_problem(string, value, key, "a string", &runtime)
    }

    /// Of all runtimes such a table is about Node.js first.
    fn table<'v>(&mut self, value: &'v RawValue, key: &str) -> Option<Table<'v>> {
        let table = serde_json::from_str(value.get()).ok();
        self.or_problem(table, value, key, "an object", &Native::Node.into())
    }

    fn or_problem<T>(
        &mut self,
        got: Option<T>,
        value: &RawValue,
        key: &str,
        wanted: &str,
        runtime: &Runtime,
    ) -> Option<T> {
        if got.is_none() {
            let message = format!("{key} is {}, not {wanted}", shown(value.get()));
            self.contents.lost(runtime, line(self.text, value), message);
        }
        got
    }
}

/// Where a value that borrows from the text stands.
fn line(text: &str, value: &RawValue) -> u32 {
    line_of(text, value.get().as_ptr().addr().saturating_sub(text.as_ptr().addr()))
}
