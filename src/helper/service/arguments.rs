//! What callers ask for: syntax and bounds. Everything here comes from untrusted peers; nothing is opened or read.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use omg::dbus::arguments::{Options as Given, answers, boolean, string};
use omg::dbus::error::Error;
use omg::transaction::{Action, Conffiles, Digest, MAX_ACTIONS, Options, Privilege, Verb};

/// The most package files of one job.
pub const MAX_FILES: usize = 64;

/// Option of a call that starts its job.
const START: &str = "start";

/// Whether the job is to be started by the call that makes it.
///
/// # Errors
/// `InvalidArgument` when the option is no `b`.
pub fn starts(options: &Given) -> Result<bool, Error> {
    Ok(boolean(options, START)?.unwrap_or(false))
}

/// What was asked for. Nothing changes it: what is authorised is what runs.
#[derive(Debug)]
pub enum Work {
    Commit {
        actions: Vec<Action>,
        options: Options,
        digest: Digest,
        /// The package files, one for each `install-file` action in their order.
        files: Vec<OwnedFd>,
    },
    Refresh,
}

impl Work {
    /// A commit.
    ///
    /// # Errors
    /// `InvalidArgument`, `LimitExceeded`, each naming the argument.
    pub fn commit(actions: Vec<(String, String)>, digest: &str, mut options: Given) -> Result<Self, Error> {
        if actions.is_empty() {
            return Err(Error::InvalidArgument("actions: at least one is needed".into()));
        }
        if actions.len() > MAX_ACTIONS {
            let given = actions.len();
            return Err(Error::LimitExceeded(format!("actions: {given} given, at most {MAX_ACTIONS} are allowed")));
        }
        let actions = actions.into_iter().map(action).collect::<Result<Vec<_>, _>>()?;
        let digest = digest.parse().map_err(|error| Error::InvalidArgument(format!("digest: {error}")))?;
        let files = files(&mut options)?;
        allow(&options, &["recommends", "conffiles", "wait", "download-only", "cascade", "answers", START])?;
        let conffiles = string(&options, "conffiles")?.map(|word| Conffiles::from_word(&word)).transpose();
        let options = Options {
            recommends: boolean(&options, "recommends")?,
            conffiles: conffiles.map_err(|error| Error::InvalidArgument(error.to_string()))?.unwrap_or_default(),
            wait: boolean(&options, "wait")?.unwrap_or(false),
            download_only: boolean(&options, "download-only")?.unwrap_or(false),
            cascade: boolean(&options, "cascade")?.unwrap_or(false),
            answers: answers(&options)?,
        };
        let wanted = actions.iter().filter(|action| action.verb() == Verb::InstallFile).count();
        if files.len() != wanted {
            let given = files.len();
            return Err(Error::InvalidArgument(format!(
                "files: {given} given for {wanted} actions install-file; each takes one"
            )));
        }
        Ok(Self::Commit { actions, options, digest, files })
    }

    /// A refresh of the package lists.
    ///
    /// # Errors
    /// As [`Work::commit`].
    pub fn refresh(options: &Given) -> Result<Self, Error> {
        allow(options, &[START])?;
        Ok(Self::Refresh)
    }

    /// What asking for it takes at the least; what it turns out to mean may take more.
    pub fn privileges(&self) -> BTreeSet<Privilege> {
        match self {
            Self::Commit { actions, .. } => actions.iter().map(|action| action.verb().privilege()).collect(),
            Self::Refresh => BTreeSet::from([Privilege::Refresh]),
        }
    }
}

fn action((verb, target): (String, String)) -> Result<Action, Error> {
    let verb: Verb = verb.parse().map_err(|error| Error::InvalidArgument(format!("actions: {error}")))?;
    Action::new(verb, target).map_err(|error| Error::InvalidArgument(format!("actions: {error}")))
}

/// Options that are not known are refused: one that was meant to make a change safer must not be passed over.
fn allow(options: &Given, allowed: &[&str]) -> Result<(), Error> {
    match options.keys().find(|key| !allowed.contains(&key.as_str())) {
        Some(key) => {
            let key: String = key.chars().take(64).collect();
            Err(Error::InvalidArgument(format!("options: {key:?} is none; known are {allowed:?}")))
        }
        None => Ok(()),
    }
}

fn files(options: &mut Given) -> Result<Vec<OwnedFd>, Error> {
    let Some(given) = options.remove("files") else { return Ok(Vec::new()) };
    let signature = given.value_signature().to_string();
    let refused = || Error::InvalidArgument(format!("files: expected ah, got {signature}"));
    if signature != "ah" {
        return Err(refused());
    }
    let given: Vec<zbus::Fd<'_>> = given.try_into().map_err(|_| refused())?;
    if given.len() > MAX_FILES {
        return Err(Error::LimitExceeded(format!("files: {} given, at most {MAX_FILES} are allowed", given.len())));
    }
    let owned = given.into_iter().map(OwnedFd::try_from).collect::<Result<_, _>>();
    owned.map_err(|error| Error::LimitExceeded(format!("files: no more can be open at once: {error}")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use zbus::Variant;

    use super::*;

    const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn install(options: Given) -> Result<Work, Error> {
        Work::commit(vec![("install".into(), "vim".into())], DIGEST, options)
    }

    fn options<'a>(given: impl IntoIterator<Item = (&'a str, Variant<'a>)>) -> Given {
        given.into_iter().map(|(key, value)| (key.to_owned(), value.try_to_owned().unwrap())).collect()
    }

    #[test]
    fn options_are_an_allow_list() {
        let all = [("recommends", false.into()), ("conffiles", "ask".into()), ("wait", true.into())];
        let Ok(Work::Commit { options: read, .. }) = install(options(all)) else { panic!("these are allowed") };
        let expected = Options { recommends: Some(false), conffiles: Conffiles::Ask, wait: true, ..Options::default() };
        assert_eq!(read, expected);
        for (key, value) in [
            ("root", "/tmp/x".into()),
            ("option", "Dpkg::Options::=--force-all".into()),
            ("locale", "../../x".into()),
            ("LD_PRELOAD", "/tmp/x.so".into()),
            ("Wait", true.into()),
            ("wait", 1_u32.into()),
            ("conffiles", "delete".into()),
            ("conffiles", true.into()),
            ("files", vec!["/etc/shadow"].into()),
            ("answers", true.into()),
            ("answers", HashMap::from([("root", "yes")]).into()),
            ("answers", HashMap::from([("conflict:a:b", "yes; reboot")]).into()),
            ("cascade", "yes".into()),
        ] {
            let refused = install(options([(key, Variant::clone(&value))]));
            assert!(matches!(&refused, Err(Error::InvalidArgument(text)) if text.contains(key)), "{key}: {refused:?}");
            assert!(Work::refresh(&options([(key, value)])).is_err());
        }
        assert!(Work::refresh(&Given::new()).is_ok());
        let started = options([("start", true.into())]);
        assert!(starts(&started).unwrap() && Work::refresh(&started).is_ok() && install(started).is_ok());
        assert!(!starts(&Given::new()).unwrap() && starts(&options([("start", 1_u32.into())])).is_err());
    }

    #[test]
    fn bounds_are_kept_and_nothing_else_is_an_action() {
        let many = vec![("install".to_owned(), "vim".to_owned()); MAX_ACTIONS + 1];
        assert!(matches!(Work::commit(many, DIGEST, Given::new()), Err(Error::LimitExceeded(_))));
        assert!(matches!(Work::commit(Vec::new(), DIGEST, Given::new()), Err(Error::InvalidArgument(_))));
        for (verb, target) in [("install", "-y"), ("install", "/etc/passwd"), ("fly", "vim"), ("upgrade-all", "vim")] {
            let refused = Work::commit(vec![(verb.into(), target.into())], DIGEST, Given::new());
            assert!(matches!(refused, Err(Error::InvalidArgument(_))), "{verb} {target}");
        }
        let refused = Work::commit(vec![("install".into(), "vim".into())], "latest", Given::new());
        assert!(matches!(&refused, Err(Error::InvalidArgument(text)) if text.starts_with("digest")), "{refused:?}");
    }

    #[test]
    fn each_package_file_comes_with_its_action() {
        let null = || zbus::OwnedFd::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let given = |count: usize| -> Given {
            let files: Vec<zbus::Fd<'static>> = (0..count).map(|_| zbus::Fd::from(OwnedFd::from(null()))).collect();
            Given::from([("files".to_owned(), Variant::from(files).try_into().unwrap())])
        };
        let commit = |count| Work::commit(vec![("install-file".into(), "a.deb".into())], DIGEST, given(count));
        let Ok(Work::Commit { files, .. }) = commit(1) else { panic!("one for one") };
        assert_eq!(files.len(), 1);
        for count in [0, 2] {
            assert!(matches!(commit(count), Err(Error::InvalidArgument(_))));
        }
        assert!(matches!(commit(MAX_FILES + 1), Err(Error::LimitExceeded(_))));
        assert!(install(given(1)).is_err());
    }
}
