//! What the package system asks while it plans, and how it was decided.
//!
//! A plan holds the decisions that it rests on. Whoever wants another one plans again with an answer; a commit resolves with
//! the answers that the plan was made with, and so comes to the same plan.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most answers of one request.
pub const MAX_ANSWERS: usize = 256;

/// The longest key of an answer, in bytes: one about many packages names them all.
pub const MAX_KEY_BYTES: usize = 16 << 10;

/// The longest choice, in bytes.
const MAX_CHOICE_BYTES: usize = 512;

/// The choice of a question that is answered with yes or no.
pub const YES: &str = "yes";
/// See [`YES`].
pub const NO: &str = "no";

/// What is asked. The words are part of the D-Bus contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asks {
    /// Whether an installed package is removed that a wanted one conflicts with. About `WANTED:INSTALLED`.
    Conflict,
    /// Whether another package takes the place of an installed one. About `INSTALLED:REPOSITORY/NEW`.
    Replace,
    /// Which package is to provide what is wanted. About what is wanted; the choices are packages.
    Provider,
    /// Whether a package is changed that the configuration says to leave alone. About its name.
    Ignored,
    /// Whether what cannot be had is left out, where the rest can be done. About names, joined by commas.
    Skip,
}

/// A question that came up while a plan was made, and how it was decided.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Decision {
    pub asks: Asks,
    /// See [`Asks`].
    pub about: String,
    /// Words that are answers.
    pub choices: Vec<String>,
    /// What is chosen where no answer is given.
    pub default: String,
    pub chosen: String,
}

/// Answers that are given with a request: by the key of a decision, or by the word of [`Asks`] for all of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Answers(BTreeMap<String, String>);

/// Why answers are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidAnswer {
    #[error("answers: {0} given, at most {MAX_ANSWERS} are allowed")]
    TooMany(usize),
    #[error("answers: {0:?} is no question; one is KIND or KIND:ABOUT, and kinds are {kinds}", kinds = Asks::ALL.map(Asks::as_str).join(", "))]
    Key(String),
    #[error("answers: {0:?} is no choice")]
    Choice(String),
}

impl Asks {
    pub const ALL: [Self; 5] = [Self::Conflict, Self::Replace, Self::Provider, Self::Ignored, Self::Skip];

    /// The word on D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Replace => "replace",
            Self::Provider => "provider",
            Self::Ignored => "ignored",
            Self::Skip => "skip",
        }
    }
}

impl fmt::Display for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an answer calls a question about something.
pub fn key(asks: &str, about: &str) -> String {
    format!("{asks}:{about}")
}

impl Decision {
    /// What an answer calls it.
    pub fn key(&self) -> String {
        key(self.asks.as_str(), &self.about)
    }
}

impl Answers {
    /// # Errors
    /// What is no question, no choice or one answer too many.
    pub fn new(given: impl IntoIterator<Item = (String, String)>) -> Result<Self, InvalidAnswer> {
        let given: BTreeMap<String, String> = given.into_iter().collect();
        if given.len() > MAX_ANSWERS {
            return Err(InvalidAnswer::TooMany(given.len()));
        }
        let shown = |text: &str| text.chars().take(64).collect();
        for (key, choice) in &given {
            let (kind, about) = key.split_once(':').map_or((key.as_str(), None), |(kind, about)| (kind, Some(about)));
            let sound = Asks::ALL.iter().any(|asks| asks.as_str() == kind)
                && about.is_none_or(|about| !about.is_empty())
                && key.len() <= MAX_KEY_BYTES
                && key.bytes().all(|byte| byte.is_ascii_graphic());
            if !sound {
                return Err(InvalidAnswer::Key(shown(key)));
            }
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:~_/@".contains(&byte);
            if choice.is_empty() || choice.len() > MAX_CHOICE_BYTES || !choice.bytes().all(plain) {
                return Err(InvalidAnswer::Choice(shown(choice)));
            }
        }
        Ok(Self(given))
    }

    /// The answer to a question, the one for all of its kind included.
    pub fn to(&self, asks: Asks, about: &str) -> Option<&str> {
        let given = self.0.get(&key(asks.as_str(), about)).or_else(|| self.0.get(asks.as_str()));
        given.map(String::as_str)
    }

    /// The answer to all questions of a kind that have none of their own.
    pub fn of_all(&self, asks: Asks) -> Option<&str> {
        self.0.get(asks.as_str()).map(String::as_str)
    }

    /// The answers of a kind that are about something, by what that is.
    pub fn of_each(&self, asks: Asks) -> BTreeMap<String, String> {
        let prefix = key(asks.as_str(), "");
        let about = |(key, choice): (&String, &String)| Some((key.strip_prefix(&prefix)?.to_owned(), choice.clone()));
        self.0.iter().filter_map(about).collect()
    }

    /// Whether there is an answer of that key itself.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether this is the answer of that key itself.
    pub fn has_as(&self, key: &str, choice: &str) -> bool {
        self.0.get(key).is_some_and(|given| given == choice)
    }

    /// The same with more answers, which take the place of others of the same key.
    ///
    /// # Errors
    /// As [`Answers::new`].
    pub fn with(&self, more: impl IntoIterator<Item = (String, String)>) -> Result<Self, InvalidAnswer> {
        Self::new(self.0.clone().into_iter().chain(more))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and choices.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, choice)| (key.as_str(), choice.as_str()))
    }
}

impl TryFrom<BTreeMap<String, String>> for Answers {
    type Error = InvalidAnswer;

    fn try_from(given: BTreeMap<String, String>) -> Result<Self, InvalidAnswer> {
        Self::new(given)
    }
}

impl From<Answers> for BTreeMap<String, String> {
    fn from(answers: Answers) -> Self {
        answers.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(given: &[(&str, &str)]) -> Result<Answers, InvalidAnswer> {
        Answers::new(given.iter().map(|(key, choice)| ((*key).to_owned(), (*choice).to_owned())))
    }

    #[test]
    fn an_answer_is_for_one_question_or_for_all_of_its_kind() {
        let given =
            answers(&[("conflict", "yes"), ("conflict:a:b", "no"), ("provider:engine>=2", "engine-b")]).unwrap();
        assert_eq!(given.to(Asks::Conflict, "a:b"), Some("no"));
        assert_eq!(given.to(Asks::Conflict, "a:c"), Some("yes"));
        assert_eq!(given.to(Asks::Provider, "engine>=2"), Some("engine-b"));
        assert_eq!(given.to(Asks::Provider, "engine"), None);
        let more = given.with([("conflict:a:b".to_owned(), "yes".to_owned())]).unwrap();
        assert_eq!(more.to(Asks::Conflict, "a:b"), Some("yes"));
        let text = serde_json::to_string(&given).unwrap();
        assert_eq!(serde_json::from_str::<Answers>(&text).unwrap(), given);
    }

    #[test]
    fn what_is_no_question_or_no_choice_is_refused() {
        for (key, choice) in [
            ("", "yes"),
            ("root", "yes"),
            ("conflict:", "yes"),
            ("conflict:a b", "yes"),
            ("conflict:a\n", "yes"),
            ("Conflict:a:b", "yes"),
            ("conflict:a:b", ""),
            ("conflict:a:b", "yes\n"),
            ("conflict:a:b", "$(reboot)"),
        ] {
            assert!(answers(&[(key, choice)]).is_err(), "{key:?} {choice:?}");
        }
        assert!(serde_json::from_str::<Answers>(r#"{"option":"yes"}"#).is_err());
        let long = format!("skip:{}", "a".repeat(MAX_KEY_BYTES));
        assert!(answers(&[(&long, "yes")]).is_err());
        let many = (0..=MAX_ANSWERS).map(|number| (format!("ignored:{number}"), YES.to_owned()));
        assert_eq!(Answers::new(many), Err(InvalidAnswer::TooMany(MAX_ANSWERS + 1)));
    }
}
