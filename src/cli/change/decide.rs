//! What the package system asks while it plans: put to whoever is at the terminal, and planned again with the answers.

use std::fs::File;
use std::io::Seek;

use super::super::Failure;
use super::super::output::{Output, WARN};
use super::ask::{self, Interrupts};
use crate::dbus::client::{Client, ClientError, ErrorKind};
use crate::dbus::planned::{DecisionItem, Planned};
use crate::transaction::{Action, Answers, Asks, FailureKind, NO, Options, YES};

/// The plan as somebody decided what it asks, where somebody `asks`; the options then hold the answers. Else as the options
/// say, and the defaults.
///
/// # Errors
/// A signal that came meanwhile; inside, why there is no plan.
pub async fn plan(
    client: &mut Client,
    actions: &[Action],
    options: &mut Options,
    files: &mut [File],
    asks: bool,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<Result<Planned, ClientError>, Failure> {
    let mut supposed = false;
    loop {
        let planned = match interrupts.unless(client.plan(actions, options, files)).await? {
            Err(error) if asks && !supposed && is_unresolved(&error) => {
                supposed = true;
                // What would be done if every conflict were decided against what is installed: then it is known what to ask.
                rewind(files)?;
                let all = [Asks::Conflict, Asks::Skip].map(|asks| (asks.as_str().to_owned(), YES.to_owned()));
                let suppose = Options { answers: answered(&options.answers, all)?, ..options.clone() };
                match interrupts.unless(client.plan(actions, &suppose, files)).await? {
                    Ok(planned) => planned,
                    Err(_) => return Ok(Err(error)),
                }
            }
            planned => match planned {
                Ok(planned) => planned,
                Err(error) => return Ok(Err(error)),
            },
        };
        let open: Vec<&DecisionItem> =
            planned.decisions.iter().filter(|decision| !options.answers.has(&decision.key())).collect();
        if !asks || open.is_empty() {
            return Ok(Ok(planned));
        }
        let given = choices(&open, interrupts, out).await?;
        options.answers = answered(&options.answers, given)?;
        let as_planned =
            planned.decisions.iter().all(|decision| options.answers.has_as(&decision.key(), &decision.choice));
        if as_planned {
            return Ok(Ok(planned));
        }
        rewind(files)?;
    }
}

/// Asks about each of them; the answers, by their keys.
///
/// # Errors
/// When it is interrupted, or the input ends.
pub async fn choices(
    open: &[&DecisionItem],
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<Vec<(String, String)>, Failure> {
    let mut given = Vec::new();
    for decision in open {
        let choice = loop {
            out.prompt(&words(decision));
            let line = interrupts.unless(ask::read_line()).await?.ok().flatten();
            if let Some(choice) = choice(decision, &line.ok_or_else(ask::cancelled)?) {
                break choice;
            }
            out.note(
                WARN,
                if is_yes_or_no(decision) { "answer with yes or no" } else { "answer with a number or a name" },
            );
        };
        given.push((decision.key(), choice));
    }
    Ok(given)
}

/// Whoever planned with the files has read them, and descriptors of one file share their position.
///
/// # Errors
/// When a file cannot be read twice.
pub fn rewind(files: &mut [File]) -> Result<(), Failure> {
    let rewound = files.iter_mut().try_for_each(Seek::rewind);
    rewound.map_err(|error| Failure::Internal(format!("a package file cannot be read again: {error}")))
}

fn answered(answers: &Answers, more: impl IntoIterator<Item = (String, String)>) -> Result<Answers, Failure> {
    answers.with(more).map_err(|error| Failure::Of(ErrorKind::Invalid, error.to_string()))
}

fn is_unresolved(error: &ClientError) -> bool {
    let wanted = FailureKind::ResolutionFailed.as_str();
    matches!(error, ClientError::Call { name, .. } if name.rsplit('.').next() == Some(wanted))
}

/// A decision in words, without how it was decided.
pub fn about(decision: &DecisionItem) -> String {
    let pair = |text: &str| text.split_once(':').map(|(one, other)| (one.to_owned(), other.to_owned()));
    let word = |asks: Asks| decision.question == asks.as_str();
    match pair(&decision.about) {
        Some((wanted, installed)) if word(Asks::Conflict) => {
            format!("{wanted} conflicts with {installed}, which is installed; remove {installed}")
        }
        Some((old, new)) if word(Asks::Replace) => format!("{new} takes the place of {old}"),
        _ if word(Asks::Provider) => format!("{} is provided by more than one package", decision.about),
        _ if word(Asks::Ignored) => {
            format!("{} is ignored by pacman's configuration; change it all the same", decision.about)
        }
        _ if word(Asks::Skip) => {
            format!("what {} needs cannot be had; leave it out", decision.about.replace(',', ", "))
        }
        _ => decision.key(),
    }
}

fn words(decision: &DecisionItem) -> String {
    let about = about(decision);
    if !is_yes_or_no(decision) {
        let numbered = decision.choices.iter().enumerate();
        let listed: Vec<String> = numbered.map(|(number, choice)| format!("{}) {choice}", number + 1)).collect();
        let default = decision.choices.iter().position(|choice| *choice == decision.default).unwrap_or(0) + 1;
        return format!("{about}: {}. Which one? [{default}]", listed.join(", "));
    }
    format!("{about}? {}", if decision.default == YES { "[Y/n]" } else { "[y/N]" })
}

fn is_yes_or_no(decision: &DecisionItem) -> bool {
    decision.choices.iter().all(|choice| choice == YES || choice == NO)
}

/// What a line means: a choice, its number, or the start of yes or no; the default for an empty one, nothing for any other.
fn choice(decision: &DecisionItem, line: &str) -> Option<String> {
    let line = line.trim().to_lowercase();
    if line.is_empty() {
        return Some(decision.default.clone());
    }
    let numbered = || {
        let number: usize = line.parse().ok()?;
        decision.choices.get(number.checked_sub(1)?)
    };
    let meant = if is_yes_or_no(decision) {
        decision.choices.iter().find(|choice| choice.starts_with(&line))
    } else {
        decision.choices.iter().find(|choice| choice.eq_ignore_ascii_case(&line)).or_else(numbered)
    };
    meant.cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(question: &str, about: &str, choices: &[&str], default: &str) -> DecisionItem {
        DecisionItem {
            question: question.into(),
            about: about.into(),
            choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
            default: default.into(),
            choice: default.into(),
        }
    }

    #[test]
    fn a_conflict_is_no_unless_somebody_says_yes() {
        let conflict = decision("conflict", "rival:p2", &["yes", "no"], "no");
        assert_eq!(words(&conflict), "rival conflicts with p2, which is installed; remove p2? [y/N]");
        for (line, meant) in [
            ("", Some("no")),
            ("y", Some("yes")),
            ("YES", Some("yes")),
            ("n", Some("no")),
            ("maybe", None),
            ("yess", None),
        ] {
            assert_eq!(choice(&conflict, line).as_deref(), meant, "{line}");
        }
    }

    #[test]
    fn a_provider_is_chosen_by_number_or_name() {
        let provider = decision("provider", "engine", &["engine-a", "engine-b"], "engine-a");
        assert!(words(&provider).ends_with("1) engine-a, 2) engine-b. Which one? [1]"), "{}", words(&provider));
        for (line, meant) in
            [("", Some("engine-a")), ("2", Some("engine-b")), ("engine-b", Some("engine-b")), ("0", None), ("7", None)]
        {
            assert_eq!(choice(&provider, line).as_deref(), meant, "{line}");
        }
    }

    #[test]
    fn a_question_of_a_later_version_is_asked_by_its_key() {
        let later = decision("colour", "x", &["red", "blue"], "red");
        assert_eq!(words(&later), "colour:x: 1) red, 2) blue. Which one? [1]");
    }
}
