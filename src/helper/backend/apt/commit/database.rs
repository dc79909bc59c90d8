//! What dpkg and apt have on record, so that what a commit changed is read there and not guessed from what it meant to do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use omg::transaction::{Change, Item, Plan};
use rust_apt::config::Config;

/// Name and architecture.
type Key = (String, String);

/// One package of dpkg's status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// First word of `Status`: install, hold, deinstall, purge.
    wanted: String,
    /// Last word of `Status`.
    pub state: String,
    /// Second word of `Status`.
    pub flag: String,
    version: String,
    /// KiB.
    size: i64,
    automatic: bool,
}

/// The packages on record at one moment.
#[derive(Debug, Default)]
pub struct Database {
    packages: BTreeMap<Key, Record>,
}

impl Record {
    /// Whether its files are there, all or some of them.
    pub fn is_present(&self) -> bool {
        !matches!(self.state.as_str(), "" | "not-installed" | "config-files")
    }

    /// Whether nothing is left to do for it. Triggers that others will run leave nothing undone in the package itself.
    pub fn is_finished(&self) -> bool {
        matches!(self.state.as_str(), "installed" | "not-installed" | "config-files") && self.flag != "reinstreq"
    }
}

impl Database {
    /// Reads dpkg's status with the entries of its journal that are not in it yet (`updates/`), and apt's marks.
    ///
    /// # Errors
    /// When the status cannot be read; marks that cannot are taken for none, as apt does.
    pub fn read(config: &Config) -> io::Result<Self> {
        let status = PathBuf::from(config.file("Dir::State::status", ""));
        let mut database = Self::default();
        let native = config.find("APT::Architecture", "");
        database.take_status(&fs::read(&status)?, &native);
        for entry in journal(&status) {
            database.take_status(&fs::read(entry)?, &native);
        }
        let marks = fs::read(config.file("Dir::State::extended_states", "")).unwrap_or_default();
        for stanza in stanzas(&String::from_utf8_lossy(&marks)) {
            let field = |name| stanza.get(name).copied().unwrap_or_default();
            if let Some(record) = database.packages.get_mut(&key(field("Package"), field("Architecture"), &native)) {
                record.automatic = field("Auto-Installed") == "1";
            }
        }
        Ok(database)
    }

    fn take_status(&mut self, text: &[u8], native: &str) {
        for stanza in stanzas(&String::from_utf8_lossy(text)) {
            let field = |name| stanza.get(name).copied().unwrap_or_default();
            let mut status = field("Status").split(' ');
            let mut word = || status.next().unwrap_or_default().to_owned();
            let record = Record {
                wanted: word(),
                flag: word(),
                state: word(),
                version: field("Version").to_owned(),
                size: field("Installed-Size").parse().unwrap_or(0),
                automatic: false,
            };
            self.packages.insert(key(field("Package"), field("Architecture"), native), record);
        }
    }

    /// Packages that dpkg left half way, as `name:arch`.
    pub fn unfinished(&self) -> Vec<String> {
        let unfinished = self.packages.iter().filter(|(_, record)| !record.is_finished());
        unfinished.map(|((name, architecture), _)| format!("{name}:{architecture}")).collect()
    }
}

/// apt files packages for all architectures under its own one, and so do plans.
fn key(name: &str, architecture: &str, native: &str) -> Key {
    let architecture = if matches!(architecture, "all" | "") { native } else { architecture };
    (name.to_owned(), architecture.to_owned())
}

/// Whether dpkg was interrupted so early that apt refuses to work: its journal holds entries.
pub fn has_journal(config: &Config) -> bool {
    !journal(Path::new(&config.file("Dir::State::status", ""))).is_empty()
}

/// The journal's files in the order in which they apply.
fn journal(status: &Path) -> Vec<PathBuf> {
    let folder = status.parent().map(|folder| folder.join("updates")).and_then(|folder| fs::read_dir(folder).ok());
    let mut files: Vec<PathBuf> = folder
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
        })
        .collect();
    files.sort_unstable();
    files
}

/// The records of a deb822(5) text, without continuation lines.
fn stanzas(text: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    text.split("\n\n").filter_map(|stanza| {
        let fields: BTreeMap<&str, &str> = stanza
            .lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name, value.trim()))
            .collect();
        fields.contains_key("Package").then_some(fields)
    })
}

/// What lies between two readings, told with what the plan knows about the packages. `reinstalled` are the names of those
/// whose files dpkg put in place again, which leaves no trace on record.
pub fn changes(before: &Database, after: &Database, plan: &Plan, reinstalled: &[String]) -> Vec<Item> {
    let none = Record::default();
    let keys = before.packages.keys().chain(after.packages.keys().filter(|key| !before.packages.contains_key(*key)));
    let mut items: Vec<Item> = keys
        .flat_map(|key| {
            let old = before.packages.get(key).unwrap_or(&none);
            let new = after.packages.get(key).unwrap_or(&none);
            let again = reinstalled.contains(&key.0);
            let changes = [change(old, new, again), selection(old, new), mark(old, new)];
            changes.into_iter().flatten().map(|change| item(key, change, old, new, plan)).collect::<Vec<_>>()
        })
        .collect();
    items.sort_unstable();
    items
}

/// What happened to the package itself.
fn change(old: &Record, new: &Record, again: bool) -> Option<Change> {
    match (old.is_present(), new.is_present()) {
        (false, true) => Some(Change::Install),
        (true, false) if new.state == "config-files" => Some(Change::Remove),
        // A package without configuration files leaves nothing behind either way; the plan knows what was asked.
        (true, false) => Some(Change::Purge),
        (false, false) => (old.state == "config-files" && new.state != "config-files").then_some(Change::Purge),
        (true, true) => match compare(&old.version, &new.version) {
            std::cmp::Ordering::Less => Some(Change::Upgrade),
            std::cmp::Ordering::Greater => Some(Change::Downgrade),
            std::cmp::Ordering::Equal if again && old.is_finished() => Some(Change::Reinstall),
            std::cmp::Ordering::Equal => (!old.is_finished() && new.is_finished()).then_some(Change::Configure),
        },
    }
}

/// libapt-pkg looks at the character behind a version, so there has to be the one that it expects.
fn compare(one: &str, other: &str) -> std::cmp::Ordering {
    if one == other {
        return std::cmp::Ordering::Equal;
    }
    let (ended, other_ended) = (format!("{one}\0"), format!("{other}\0"));
    rust_apt::util::cmp_versions(ended.trim_end_matches('\0'), other_ended.trim_end_matches('\0'))
}

fn selection(old: &Record, new: &Record) -> Option<Change> {
    match (old.wanted == "hold", new.wanted == "hold") {
        (false, true) => Some(Change::Hold),
        // What is removed is not held any more, which is no news.
        (true, false) => new.is_present().then_some(Change::Unhold),
        _ => None,
    }
}

fn mark(old: &Record, new: &Record) -> Option<Change> {
    let stays = old.is_present() && new.is_present();
    match (old.automatic, new.automatic) {
        (true, false) if stays => Some(Change::MarkExplicit),
        (false, true) if stays => Some(Change::MarkDependency),
        _ => None,
    }
}

fn item((name, architecture): &Key, change: Change, old: &Record, new: &Record, plan: &Plan) -> Item {
    let version = |record: &Record| if record.is_present() { record.version.clone() } else { String::new() };
    let is_removal = |change| matches!(change, Change::Remove | Change::Purge);
    let planned = plan.items.iter().find(|item| {
        item.name == *name
            && item.arch == *architecture
            && (item.change == change || is_removal(item.change) && is_removal(change))
    });
    let (from, to) = (version(old), version(new));
    match planned {
        Some(item) if item.to == to => Item { from, download: 0, ..item.clone() },
        _ => Item {
            change,
            name: name.clone(),
            arch: architecture.clone(),
            from,
            to,
            repository: String::new(),
            download: 0,
            delta: (if new.is_present() { new.size } else { 0 } - if old.is_present() { old.size } else { 0 }) * 1024,
            explicit: !if new.is_present() { new } else { old }.automatic,
            sha256: String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use omg::transaction::{Options, Resolution};

    use super::*;

    fn database(status: &str) -> Database {
        let mut database = Database::default();
        database.take_status(status.as_bytes(), "amd64");
        database
    }

    fn package(name: &str, status: &str, version: &str) -> String {
        format!("Package: {name}\nStatus: {status}\nArchitecture: amd64\nVersion: {version}\nInstalled-Size: 3\n\n")
    }

    #[test]
    fn what_changed_is_read_from_the_record() {
        let before = [
            package("conf", "deinstall ok config-files", "1"),
            package("down", "install ok installed", "2"),
            package("gone", "install ok installed", "1"),
            package("half", "install ok half-configured", "1"),
            package("held", "install ok installed", "1"),
            package("left", "install ok installed", "1"),
            package("same", "install ok installed", "1"),
            package("up", "install ok installed", "1"),
        ];
        let after = [
            package("down", "install ok installed", "1"),
            package("gone", "deinstall ok config-files", "1"),
            package("half", "install ok installed", "1"),
            package("held", "hold ok installed", "1"),
            package("new", "install ok unpacked", "1"),
            package("same", "install ok installed", "1"),
            package("up", "install ok installed", "1.1"),
        ];
        let plan = Plan::new(Vec::new(), Options::default(), Resolution::default());
        let items = changes(&database(&before.concat()), &database(&after.concat()), &plan, &["same".to_owned()]);
        let found: Vec<(Change, &str, &str, &str, i64)> =
            items.iter().map(|item| (item.change, &*item.name, &*item.from, &*item.to, item.delta)).collect();
        assert_eq!(
            found,
            [
                (Change::Install, "new", "", "1", 3072),
                (Change::Upgrade, "up", "1", "1.1", 0),
                (Change::Downgrade, "down", "2", "1", 0),
                (Change::Reinstall, "same", "1", "1", 0),
                (Change::Remove, "gone", "1", "", -3072),
                (Change::Purge, "conf", "", "", 0),
                (Change::Purge, "left", "1", "", -3072),
                (Change::Hold, "held", "1", "1", 0),
                (Change::Configure, "half", "1", "1", 0),
            ]
        );
    }

    #[test]
    fn the_journal_applies_over_the_status() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("updates")).unwrap();
        for (file, state) in [("0001", "half-installed"), ("0000", "unpacked"), ("tmp.i", "installed")] {
            let text = package("a", &format!("install ok {state}"), "1");
            fs::write(folder.path().join("updates").join(file), text).unwrap();
        }
        let names: Vec<PathBuf> = journal(&folder.path().join("status"));
        assert_eq!(names, ["0000", "0001"].map(|name| folder.path().join("updates").join(name)));
    }
}
