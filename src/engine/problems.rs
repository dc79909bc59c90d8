//! What is wrong at the moment, as the status tells it.

use std::collections::BTreeMap;

/// What a problem is about. Each has one problem at a time: a newer one says how things are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// Reading the packages.
    Index,
    /// Keeping the index on disk.
    IndexFile,
    StatusFile,
    /// Reading what was done.
    History,
    /// Fetching and reading the AUR's archive.
    Aur,
    /// Asking the AUR for what is newer.
    AurRpc,
    /// Asking the repositories that packages of the AUR were built from.
    AurSources,
    /// What happened to stored data. It does not come back, so this stays until the daemon ends.
    Store,
}

/// The problems that are not over yet.
#[derive(Debug, Default)]
pub(super) struct Problems(BTreeMap<Subject, String>);

impl Problems {
    pub(super) fn report(&mut self, subject: Subject, problem: String) {
        self.0.insert(subject, problem);
    }

    pub(super) fn in_order(&mut self, subject: Subject) {
        self.0.remove(&subject);
    }

    /// The one about `subject`.
    pub(super) fn of(&self, subject: Subject) -> Option<&str> {
        self.0.get(&subject).map(String::as_str)
    }

    /// In the order of subjects.
    pub(super) fn texts(&self) -> Vec<String> {
        self.0.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_until_its_subject_is_in_order() {
        let mut problems = Problems::default();
        problems.report(Subject::Index, "the helper crashed".into());
        problems.report(Subject::IndexFile, "the disk is full".into());
        problems.report(Subject::Index, "the helper hangs".into());
        assert_eq!(problems.texts(), ["the helper hangs", "the disk is full"]);
        problems.in_order(Subject::Index);
        assert_eq!(problems.texts(), ["the disk is full"]);
    }
}
