//! `omg man`: manual pages from the grammar

use std::path::Path;

use clap_mangen::Man;

use super::output::{NAME, Output};
use super::{Failure, command};

/// Prints omg(1), or writes it and a page for each verb (omg-search(1)…) into a folder.
pub fn run(dir: Option<&Path>, out: &mut Output) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        Man::new(command()).render(&mut page).map_err(Failure::Output)?;
        out.file(&page);
        return Ok(());
    };
    let failed = |error: std::io::Error| Failure::Internal(format!("cannot write into {}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(command().disable_help_subcommand(true), dir).map_err(failed)?;
    if !out.quiet() {
        out.styled(NAME, &dir.display().to_string());
        out.newline();
    }
    Ok(())
}
