//! Answers to libalpm's questions.

use std::cell::RefCell;
use std::rc::Rc;

use alpm::{Alpm, AnyQuestion, Question};

use super::sound;

/// Answers libalpm's questions as `pacman --noconfirm` does, and remembers what was asked.
#[derive(Debug, Clone, Default)]
pub struct Answers(Rc<RefCell<Vec<String>>>);

impl Answers {
    pub fn listen(handle: &Alpm) -> Self {
        let answers = Self::default();
        handle.set_question_cb(answers.clone(), |question, answers| {
            if let Some(Some(note)) = sound(|| answer(&question)) {
                answers.0.borrow_mut().push(note);
            }
        });
        answers
    }

    /// What was decided and could have been decided otherwise.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

/// The defaults of pacman(8), but that no key is imported without somebody saying so.
pub fn answer(question: &AnyQuestion) -> Option<String> {
    match question.question() {
        Question::InstallIgnorepkg(mut question) => {
            question.set_install(true);
            None
        }
        Question::Replace(question) => {
            question.set_replace(true);
            let (old, new) = (question.oldpkg().name(), question.newpkg().name());
            Some(format!("{}/{new} takes the place of {old}", question.newdb().name()))
        }
        Question::Conflict(mut question) => {
            question.set_remove(false);
            None
        }
        Question::RemovePkgs(mut question) => {
            question.set_skip(false);
            None
        }
        Question::SelectProvider(mut question) => {
            question.set_index(0);
            let names: Vec<&str> = question.providers().into_iter().map(|package| package.name()).collect();
            let (chosen, others) = names.split_first()?;
            let wanted = question.depend();
            Some(format!(
                "{wanted} is provided by {chosen}; install {} by name to have that instead",
                others.join(" or ")
            ))
        }
        Question::Corrupted(mut question) => {
            question.set_remove(true);
            None
        }
        Question::ImportKey(mut question) => {
            question.set_import(false);
            None
        }
    }
}
