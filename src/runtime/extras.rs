//! What belongs to an installation besides its version.

/// Parts of a runtime that are there only when somebody wants them: Rust's profile, components and targets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// `minimal`, `default` or `complete`; `None`: the one that upstream's installer takes.
    pub profile: Option<String>,
    pub components: Vec<String>,
    /// Target triples.
    pub targets: Vec<String>,
}

impl Extras {
    pub fn is_empty(&self) -> bool {
        self.profile.is_none() && self.components.is_empty() && self.targets.is_empty()
    }
}
