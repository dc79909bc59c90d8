//! What can be asked about packages.

/// How the terms of a search match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SearchMode {
    /// Names by substring or by letters in order, summaries by substring.
    #[default]
    Fuzzy,
    /// Names and summaries by substring: the set that `apt-cache search` finds.
    Substring,
    /// Names only, whole.
    Exact,
}

impl SearchMode {
    /// The word used on D-Bus and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fuzzy => "fuzzy",
            Self::Substring => "substring",
            Self::Exact => "exact",
        }
    }

    /// The mode of that name.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Fuzzy, Self::Substring, Self::Exact].into_iter().find(|mode| mode.as_str() == word)
    }
}

/// A search. All terms must match, each anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SearchQuery {
    pub terms: Vec<String>,
    pub mode: SearchMode,
    /// Search long descriptions too.
    pub descriptions: bool,
    /// Only what is installed.
    pub installed: bool,
    /// Backends to ask (`apt`, `alpm`, `aur`); all when empty.
    pub sources: Vec<String>,
    /// At most so many rows; 0 means no limit of the caller's own.
    pub limit: u32,
}

/// A listing: every condition that is set must hold. With none set it lists every known package.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ListQuery {
    pub installed: Option<bool>,
    pub explicit: Option<bool>,
    pub upgradable: Option<bool>,
    pub orphans: Option<bool>,
    pub foreign: Option<bool>,
    pub held: Option<bool>,
    /// A repository label or its part before or after the slash: `bookworm/main`, `bookworm`, `main`.
    pub repository: Option<String>,
    /// A group that they are members of.
    pub group: Option<String>,
    /// At most so many rows; 0 means no limit of the caller's own.
    pub limit: u32,
}

/// Which package lists upgrades are told from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UpdatesState {
    /// The newer ones of both: what is possible.
    #[default]
    Possible,
    /// The package system's own, which a plan is made from.
    Planned,
}

impl UpdatesState {
    /// The word used on D-Bus and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Planned => "planned",
        }
    }

    /// The state of that name.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Possible, Self::Planned].into_iter().find(|state| state.as_str() == word)
    }
}

/// Either way of choosing packages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selection {
    Search(SearchQuery),
    List(ListQuery),
}
