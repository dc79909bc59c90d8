//! Names of runtimes.

use std::fmt;

use thiserror::Error;

/// A runtime that is managed here, without another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Native {
    Node,
    Python,
    Go,
    Rust,
    Ruby,
    Java,
    Bun,
}

impl Native {
    /// In the order in which they are listed.
    pub const ALL: [Self; 7] = [Self::Node, Self::Python, Self::Go, Self::Rust, Self::Ruby, Self::Java, Self::Bun];

    /// The name of its folder, and what it is called in commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Go => "go",
            Self::Rust => "rust",
            Self::Ruby => "ruby",
            Self::Java => "java",
            Self::Bun => "bun",
        }
    }
}

/// A runtime, by the name that it has here: [`Native`], or one that mise knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    Native(Native),
    /// As mise calls it: small letters, digits, `-`, `_` and `.`.
    Other(String),
}

/// That a text names no runtime.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no name of a runtime: small letters, digits, -, _ and . make one")]
pub struct BadName(pub String);

/// Longest name, bytes.
const MAX_NAME: usize = 64;

impl Runtime {
    /// # Errors
    /// [`BadName`] for what could not be the name of a folder and an argument of mise.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        let native = match name {
            "node" | "nodejs" => Some(Native::Node),
            "python" | "python3" => Some(Native::Python),
            "go" | "golang" => Some(Native::Go),
            "rust" => Some(Native::Rust),
            "ruby" => Some(Native::Ruby),
            "java" => Some(Native::Java),
            "bun" => Some(Native::Bun),
            _ => None,
        };
        if let Some(native) = native {
            return Ok(Self::Native(native));
        }
        let starts = name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
        let rest = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_.".contains(letter);
        if !starts || name.len() > MAX_NAME || !name.chars().all(rest) {
            return Err(BadName(name.chars().take(MAX_NAME).collect()));
        }
        Ok(Self::Other(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Native(native) => native.as_str(),
            Self::Other(name) => name,
        }
    }

    /// The native one that may have been meant by a name that is not its own.
    pub fn near(&self) -> Option<Native> {
        let Self::Other(name) = self else { return None };
        let letters = |name: &str| {
            let mut letters: Vec<char> = name.chars().collect();
            letters.sort_unstable();
            letters
        };
        // A letter too few, too many, or two in the wrong order. Another letter makes names that mise knows: just, buf.
        let is_near = |own: &str| {
            strsim::osa_distance(name, own) == 1 && (name.len() != own.len() || letters(name) == letters(own))
        };
        Native::ALL.into_iter().find(|native| name.len() > 2 && is_near(native.as_str()))
    }

    pub fn native(&self) -> Option<Native> {
        match self {
            Self::Native(native) => Some(*native),
            Self::Other(_) => None,
        }
    }
}

impl From<Native> for Runtime {
    fn from(native: Native) -> Self {
        Self::Native(native)
    }
}

impl fmt::Display for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_ours_or_one_that_mise_could_know() {
        assert_eq!(Runtime::parse("nodejs"), Ok(Runtime::Native(Native::Node)));
        assert_eq!(Runtime::parse("golang"), Ok(Runtime::Native(Native::Go)));
        assert_eq!(Runtime::parse("deno"), Ok(Runtime::Other("deno".to_owned())));
        for bad in ["", "..", "-x", "a/b", "Node", "a b", "é", "npm:prettier", &"x".repeat(65)] {
            assert!(Runtime::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_mistyped_name_is_near_to_one_of_ours() {
        let near = |name: &str| Runtime::parse(name).unwrap().near();
        for (name, native) in [
            ("nod", Native::Node),
            ("noed", Native::Node),
            ("pyhton", Native::Python),
            ("rsut", Native::Rust),
            ("jav", Native::Java),
        ] {
            assert_eq!(near(name), Some(native), "{name}");
        }
        for other in ["node", "nodejs", "deno", "zig", "uv", "julia", "erlang", "just", "buf", "dust", "rush", "g"] {
            assert_eq!(near(other), None, "{other}");
        }
    }
}
