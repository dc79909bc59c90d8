//! Answers to libalpm's questions.

use std::cell::RefCell;
use std::rc::Rc;

use alpm::{Alpm, AnyQuestion, Db, Package, Question};
use omg::transaction::{Answers as Given, Asks, Decision, Failure, FailureKind, NO, YES};

use super::sound;

/// Answers libalpm's questions as the request says, else as `pacman --noconfirm` does, and remembers what was asked.
#[derive(Debug, Clone, Default)]
pub struct Answers(Rc<RefCell<Asked>>);

#[derive(Debug, Default)]
struct Asked {
    given: Given,
    decisions: Vec<Decision>,
    /// Of an answer that is none of the choices.
    refused: Option<String>,
}

impl Answers {
    pub fn listen(handle: &Alpm, given: Given) -> Self {
        let answers = Self(Rc::new(RefCell::new(Asked { given, ..Asked::default() })));
        handle.set_question_cb(answers.clone(), |question, answers| {
            let _ = sound(|| answers.answer(&question));
        });
        answers
    }

    /// What was asked, and how it was decided: in that order, each once.
    pub fn decisions(&self) -> Vec<Decision> {
        self.0.borrow().decisions.clone()
    }

    /// That an answer is none of the choices.
    pub fn refused(&self) -> Option<Failure> {
        let refused = self.0.borrow().refused.clone();
        refused.map(|message| Failure::new(FailureKind::InvalidArgument, message))
    }

    /// The choice, by the request or as the default says.
    pub fn decide(&self, asks: Asks, about: String, choices: Vec<String>, default: &str) -> String {
        let mut asked = self.0.borrow_mut();
        let known = asked.decisions.iter().find(|decision| decision.asks == asks && decision.about == about);
        if let Some(known) = known {
            return known.chosen.clone();
        }
        let chosen = match asked.given.to(asks, &about).map(str::to_owned) {
            Some(answer) if choices.contains(&answer) => answer,
            Some(answer) => {
                let text = format!("answers: {asks}:{about} is one of {}, not {answer}", choices.join(", "));
                asked.refused.get_or_insert(text);
                default.to_owned()
            }
            None => default.to_owned(),
        };
        asked.decisions.push(Decision { asks, about, choices, default: default.to_owned(), chosen: chosen.clone() });
        chosen
    }

    /// The same for a question that is answered with yes or no.
    pub fn agrees(&self, asks: Asks, about: String, default: bool) -> bool {
        let default = if default { YES } else { NO };
        self.decide(asks, about, vec![YES.to_owned(), NO.to_owned()], default) == YES
    }

    /// The defaults are those of pacman(8).
    fn answer(&self, question: &AnyQuestion) {
        match question.question() {
            Question::InstallIgnorepkg(mut question) => {
                let name = question.pkg().name().to_owned();
                question.set_install(self.agrees(Asks::Ignored, name, true));
            }
            Question::Replace(question) => {
                let (old, new) = (question.oldpkg().name(), question.newpkg().name());
                let about = format!("{old}:{}/{new}", question.newdb().name());
                question.set_replace(self.agrees(Asks::Replace, about, true));
            }
            Question::Conflict(mut question) => {
                let about = {
                    let conflict = question.conflict();
                    format!("{}:{}", conflict.package1().name(), conflict.package2().name())
                };
                question.set_remove(self.agrees(Asks::Conflict, about, false));
            }
            Question::RemovePkgs(mut question) => {
                let names: Vec<&str> = question.packages().into_iter().map(|package| package.name()).collect();
                let about = names.join(",");
                question.set_skip(self.agrees(Asks::Skip, about, false));
            }
            Question::SelectProvider(mut question) => {
                let wanted = question.depend().to_string();
                let choices = choices(question.providers().into_iter().map(|package| (package, package.db())));
                let Some(first) = choices.first().cloned() else { return };
                let chosen = self.decide(Asks::Provider, wanted, choices.clone(), &first);
                let position = choices.iter().position(|choice| *choice == chosen).unwrap_or(0);
                question.set_index(i32::try_from(position).unwrap_or(0));
            }
            // These come up when packages are fetched and checked.
            Question::Corrupted(_) | Question::ImportKey(_) => {}
        }
    }
}

/// The packages by name, and those of a name that another one has by their repository too.
fn choices<'a>(packages: impl Iterator<Item = (&'a Package, Option<&'a Db>)>) -> Vec<String> {
    let mut choices: Vec<String> = Vec::new();
    for (package, database) in packages {
        let name = package.name().to_owned();
        let taken = choices.contains(&name);
        choices.push(match database.filter(|_| taken) {
            Some(database) => format!("{}/{name}", database.name()),
            None => name,
        });
    }
    choices
}
