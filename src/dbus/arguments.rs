//! Checks what callers send: sizes, counts, types. Everything here comes from untrusted peers.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use zbus::{OwnedVariant, Variant};

use super::error::Error;
use crate::package::{ListQuery, PackageRow, SearchMode, SearchQuery, UpdatesState};
use crate::transaction::{self, Action, Answers, Conffiles, InvalidAction, MAX_ACTIONS, Verb};

/// Options and queries, as they arrive.
pub type Options = HashMap<String, OwnedVariant>;

/// The most terms a search may have.
pub const MAX_TERMS: usize = 16;
/// The longest term, name or prefix, in bytes.
pub const MAX_TERM_BYTES: usize = 256;
/// The most names one `GetDetails` may ask for.
pub const MAX_NAMES: usize = 1000;
/// The most rows one answer holds; `QueryFd` is for more.
pub const MAX_ROWS: u32 = 10_000;
/// The most paths one answer holds.
pub const MAX_PATHS: usize = 500_000;
/// The longest path, in bytes (`PATH_MAX` of limits.h).
pub const MAX_PATH_BYTES: usize = 4096;
/// The most requests in one `Batch`.
pub const MAX_BATCH: usize = 100;
/// Most names of fields.
pub const MAX_FIELDS: usize = 100;
/// The most sources a search may name.
pub const MAX_SOURCES: usize = 8;
/// The most package files of one plan.
pub const MAX_FILES: usize = 64;
/// The most transactions one `History` tells.
pub const MAX_HISTORY: u32 = 1000;
/// The most names `Suggest` gives.
pub const MAX_SUGGESTIONS: u32 = 1000;

/// A search from its terms and options. Unknown options are ignored, known ones of another type refused.
///
/// # Errors
/// `InvalidArgument`, `LimitExceeded`, each naming the argument.
pub fn search_query(terms: Vec<String>, options: &Options) -> Result<SearchQuery, Error> {
    if terms.is_empty() {
        return Err(Error::InvalidArgument("terms: at least one is needed".into()));
    }
    if terms.len() > MAX_TERMS {
        return Err(Error::LimitExceeded(format!("terms: {} given, at most {MAX_TERMS} are allowed", terms.len())));
    }
    for term in &terms {
        text("terms", term)?;
    }
    let sources = strings(options, "sources")?.unwrap_or_default();
    if sources.len() > MAX_SOURCES {
        return Err(Error::LimitExceeded(format!(
            "sources: {} given, at most {MAX_SOURCES} are allowed",
            sources.len()
        )));
    }
    sources.iter().try_for_each(|source| text("sources", source))?;
    let mode = string(options, "mode")?;
    mode.as_deref().map_or(Ok(()), |mode| text("mode", mode))?;
    let mode = match mode {
        None => SearchMode::default(),
        Some(word) => SearchMode::parse(&word)
            .ok_or_else(|| Error::InvalidArgument(format!("mode: {word:?} is none of fuzzy, substring, exact")))?,
    };
    Ok(SearchQuery {
        terms,
        mode,
        descriptions: boolean(options, "descriptions")?.unwrap_or(false),
        installed: boolean(options, "installed")?.unwrap_or(false),
        sources,
        limit: limit(options)?,
    })
}

/// How many transactions are wanted.
///
/// # Errors
/// As [`search_query`].
pub fn history_limit(options: &Options) -> Result<u32, Error> {
    match value(options, "limit", "u")?.unwrap_or(0) {
        0 => Ok(MAX_HISTORY),
        limit if limit > MAX_HISTORY => {
            Err(Error::LimitExceeded(format!("limit: {limit} given, at most {MAX_HISTORY} are allowed")))
        }
        limit => Ok(limit),
    }
}

/// The actions of a plan.
///
/// # Errors
/// `InvalidArgument`, `LimitExceeded`, each naming the argument.
pub fn actions(actions: Vec<(String, String)>) -> Result<Vec<Action>, Error> {
    if actions.is_empty() {
        return Err(Error::InvalidArgument("actions: at least one is needed".into()));
    }
    if actions.len() > MAX_ACTIONS {
        return Err(Error::LimitExceeded(format!(
            "actions: {} given, at most {MAX_ACTIONS} are allowed",
            actions.len()
        )));
    }
    let action = |(verb, target): (String, String)| Action::new(verb.parse()?, target);
    let actions: Result<Vec<Action>, InvalidAction> = actions.into_iter().map(action).collect();
    actions.map_err(|error| Error::InvalidArgument(format!("actions: {error}")))
}

/// The options of a plan. Unknown options are ignored, known ones of another type or value refused.
///
/// # Errors
/// As [`search_query`].
pub fn plan_options(options: &Options) -> Result<transaction::Options, Error> {
    let conffiles = match string(options, "conffiles")? {
        Some(word) => Conffiles::from_word(&word).map_err(|error| Error::InvalidArgument(error.to_string()))?,
        None => Conffiles::default(),
    };
    Ok(transaction::Options {
        recommends: boolean(options, "recommends")?,
        conffiles,
        wait: boolean(options, "wait")?.unwrap_or(false),
        download_only: boolean(options, "download-only")?.unwrap_or(false),
        cascade: boolean(options, "cascade")?.unwrap_or(false),
        answers: answers(options)?,
    })
}

/// Answers to what the package system asks while it plans.
///
/// # Errors
/// As [`search_query`].
pub fn answers(options: &Options) -> Result<Answers, Error> {
    let Some(given) = options.get("answers") else { return Ok(Answers::default()) };
    let refused = || Error::InvalidArgument(format!("answers: expected a{{ss}}, got {}", given.value_signature()));
    if given.value_signature() != "a{ss}" {
        return Err(refused());
    }
    let given: HashMap<String, String> =
        given.try_clone().ok().and_then(|given| HashMap::try_from(given).ok()).ok_or_else(refused)?;
    Answers::new(given).map_err(|error| Error::InvalidArgument(error.to_string()))
}

/// The package files of a plan: as many as there are actions that want one.
///
/// # Errors
/// As [`search_query`].
pub fn plan_files(options: &Options, actions: &[Action]) -> Result<Vec<OwnedFd>, Error> {
    let files = match options.get("files").map(|files| &**files) {
        None => Vec::new(),
        Some(Variant::Array(files)) => files.inner().iter().map(descriptor).collect::<Result<_, _>>()?,
        Some(_) => return Err(not_files()),
    };
    let wanted = actions.iter().filter(|action| action.verb() == Verb::InstallFile).count();
    if files.len() != wanted || wanted > MAX_FILES {
        let given = files.len();
        return Err(Error::InvalidArgument(format!(
            "files: {given} given for {wanted} install-file actions; each needs one, at most {MAX_FILES} are allowed"
        )));
    }
    Ok(files)
}

fn not_files() -> Error {
    Error::InvalidArgument("files: must be of type ah".into())
}

fn descriptor(variant: &Variant<'_>) -> Result<OwnedFd, Error> {
    let Variant::Fd(file) = variant else { return Err(not_files()) };
    let file = file.as_fd().try_clone_to_owned();
    file.map_err(|error| Error::LimitExceeded(format!("files: a descriptor cannot be taken: {error}")))
}

/// Which package lists upgrades are told from.
///
/// # Errors
/// As [`search_query`].
pub fn updates_state(options: &Options) -> Result<UpdatesState, Error> {
    let Some(word) = string(options, "state")? else { return Ok(UpdatesState::default()) };
    text("state", &word)?;
    let none = || Error::InvalidArgument(format!("state: {word:?} is none of possible, planned"));
    UpdatesState::parse(&word).ok_or_else(none)
}

/// A listing from its query dictionary.
///
/// # Errors
/// As [`search_query`].
pub fn list_query(options: &Options) -> Result<ListQuery, Error> {
    let named = |key| match string(options, key)? {
        Some(name) => text(key, &name).map(|()| Some(name)),
        None => Ok(None),
    };
    let (repository, group) = (named("repository")?, named("group")?);
    Ok(ListQuery {
        installed: boolean(options, "installed")?,
        explicit: boolean(options, "explicit")?,
        upgradable: boolean(options, "upgradable")?,
        orphans: boolean(options, "orphans")?,
        foreign: boolean(options, "foreign")?,
        held: boolean(options, "held")?,
        repository,
        group,
        limit: limit(options)?,
    })
}

/// The option `limit`. Without it, and above [`MAX_ROWS`], it is one more than an answer may hold, so that
/// [`bounded`] sees that there is more.
///
/// # Errors
/// `InvalidArgument` when it is no `u`.
pub fn limit(options: &Options) -> Result<u32, Error> {
    let limit: Option<u32> = value(options, "limit", "u")?;
    Ok(match limit.unwrap_or(0) {
        0 => MAX_ROWS + 1,
        limit => limit.min(MAX_ROWS + 1),
    })
}

/// How many names `Suggest` is to give; 0 asks for all that are allowed.
///
/// # Errors
/// `LimitExceeded` beyond [`MAX_SUGGESTIONS`].
pub fn suggestions(limit: u32) -> Result<usize, Error> {
    match limit {
        0 => Ok(MAX_SUGGESTIONS as usize),
        limit if limit > MAX_SUGGESTIONS => {
            Err(Error::LimitExceeded(format!("limit: {limit} given, at most {MAX_SUGGESTIONS} are allowed")))
        }
        limit => Ok(limit as usize),
    }
}

/// The rows, if they fit into one answer.
///
/// # Errors
/// `LimitExceeded`: rows are never left out without a word.
pub fn bounded(rows: Arc<[PackageRow]>) -> Result<Arc<[PackageRow]>, Error> {
    if rows.len() > MAX_ROWS as usize {
        return Err(Error::LimitExceeded(format!(
            "rows: more than {MAX_ROWS} match; set a limit, or take all of them through QueryFd"
        )));
    }
    Ok(rows)
}

/// Names for `GetDetails`.
///
/// # Errors
/// As [`search_query`].
pub fn names(names: &[String]) -> Result<(), Error> {
    if names.len() > MAX_NAMES {
        return Err(Error::LimitExceeded(format!("names: {} given, at most {MAX_NAMES} are allowed", names.len())));
    }
    names.iter().try_for_each(|name| text("names", name))
}

/// Paths for `Owner`: absolute, or for those of repositories also names of files.
///
/// # Errors
/// As [`search_query`].
pub fn paths(paths: &[String], offered: bool) -> Result<(), Error> {
    if paths.len() > MAX_NAMES {
        return Err(Error::LimitExceeded(format!("paths: {} given, at most {MAX_NAMES} are allowed", paths.len())));
    }
    for path in paths {
        if path.len() > MAX_PATH_BYTES {
            let message = format!("paths: {} bytes given, at most {MAX_PATH_BYTES} are allowed", path.len());
            return Err(Error::LimitExceeded(message));
        }
        if path.trim_matches('/').is_empty() && (offered || path.is_empty()) {
            return Err(Error::InvalidArgument("paths: an empty path is of no package".into()));
        }
        if !offered && !path.starts_with('/') {
            return Err(Error::InvalidArgument(format!("paths: {path:?} is not absolute")));
        }
    }
    Ok(())
}

/// Paths, if they fit into one answer.
///
/// # Errors
/// `LimitExceeded`: none is left out without a word.
pub fn few<T>(paths: Vec<T>) -> Result<Vec<T>, Error> {
    if paths.len() > MAX_PATHS {
        return Err(Error::LimitExceeded(format!("paths: more than {MAX_PATHS} match")));
    }
    Ok(paths)
}

/// One text that is looked for: not empty, not overlong, no control characters.
///
/// # Errors
/// `InvalidArgument`, `LimitExceeded`, each naming `argument`.
pub fn text(argument: &str, text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::InvalidArgument(format!("{argument}: an empty text matches nothing in particular")));
    }
    if text.len() > MAX_TERM_BYTES {
        let message = format!("{argument}: {} bytes given, at most {MAX_TERM_BYTES} are allowed", text.len());
        return Err(Error::LimitExceeded(message));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::InvalidArgument(format!("{argument}: {text:?} has control characters")));
    }
    Ok(())
}

/// The names in the option `fields`.
///
/// # Errors
/// `InvalidArgument` when it is no list of texts; `LimitExceeded`.
pub fn fields(options: &Options) -> Result<Option<Vec<String>>, Error> {
    let fields = strings(options, "fields")?;
    if fields.as_ref().is_some_and(|fields| fields.len() > MAX_FIELDS) {
        return Err(Error::LimitExceeded(format!("fields: at most {MAX_FIELDS} names are allowed")));
    }
    Ok(fields)
}

/// A boolean option.
///
/// # Errors
/// `InvalidArgument` when it is no `b`.
pub fn boolean(options: &Options, key: &str) -> Result<Option<bool>, Error> {
    value(options, key, "b")
}

/// A list of texts.
///
/// # Errors
/// `InvalidArgument` when it is no `as`.
pub fn strings(options: &Options, key: &str) -> Result<Option<Vec<String>>, Error> {
    value(options, key, "as")
}

/// A text.
///
/// # Errors
/// `InvalidArgument` when it is no `s`.
pub fn string(options: &Options, key: &str) -> Result<Option<String>, Error> {
    value(options, key, "s")
}

fn value<T>(options: &Options, key: &str, signature: &str) -> Result<Option<T>, Error>
where
    T: TryFrom<OwnedVariant>,
{
    let Some(variant) = options.get(key) else { return Ok(None) };
    let refused = || Error::InvalidArgument(format!("{key}: expected {signature}, got {}", variant.value_signature()));
    variant.try_clone().ok().and_then(|variant| T::try_from(variant).ok()).ok_or_else(refused).map(Some)
}

/// The arguments of a request in a `Batch`: a structure's fields, or for methods with none anything at all.
pub fn batch_fields(arguments: &Variant<'_>) -> Vec<OwnedVariant> {
    match arguments {
        Variant::Structure(structure) => {
            structure.fields().iter().filter_map(|field| field.try_to_owned().ok()).collect()
        }
        _ => Vec::new(),
    }
}
