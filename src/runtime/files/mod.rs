//! Which versions the files of a folder ask for.

use std::path::{Path, PathBuf};

use super::{Extras, Native, Request, Runtime};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(pub u8);

#[derive(Debug, Clone)]
pub struct Wish {
    pub runtime: Runtime,
    pub request: Request,
    pub extras: Extras,
    pub file: PathBuf,
    pub line: u32,
    pub weight: Weight,
}

#[derive(Debug, Clone)]
pub struct Problem {
    pub file: PathBuf,
    pub line: u32,
    pub message: String,
}

#[derive(Debug, Clone, Default)]
pub struct Found {
    pub wishes: Vec<Wish>,
    pub problems: Vec<Problem>,
}

pub fn read(folder: &Path) -> Found {
    let mut found = Found::default();
    for folder in folder.ancestors() {
        let names = [(".nvmrc", Native::Node), (".python-version", Native::Python), (".java-version", Native::Java)];
        for (name, native) in names {
            let file = folder.join(name);
            let Ok(bytes) = std::fs::read(&file) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            let runtime = Runtime::from(native);
            match Request::parse(&runtime, text.trim()) {
                Ok(request) => {
                    let (extras, weight) = (Extras::default(), Weight(0));
                    found.wishes.push(Wish { runtime, request, extras, file, line: 1, weight });
                }
                Err(error) => found.problems.push(Problem { file, line: 1, message: error.to_string() }),
            }
        }
    }
    found
}

pub fn winner<'a>(found: &'a Found, runtime: &Runtime) -> Option<&'a Wish> {
    found.wishes.iter().find(|wish| wish.runtime == *runtime)
}
