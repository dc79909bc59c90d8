//! Files of packages: the helper reads them when they are asked for.

use std::process::Stdio;

use super::{Engine, EngineError};
use crate::transaction::{PathAnswer, PathQuery, read_line, write_line};

impl Engine {
    /// The packages that have these paths, as (path, package).
    ///
    /// # Errors
    /// [`EngineError::Refused`] when it cannot be told, and what keeps the helper from running.
    pub async fn owners(&self, paths: Vec<String>, offered: bool) -> Result<Vec<(String, String)>, EngineError> {
        let query = if offered { PathQuery::Offering(paths) } else { PathQuery::Owners(paths) };
        match self.paths(&query).await? {
            PathAnswer::Owners(owners) => Ok(owners),
            _ => Err(mismatched()),
        }
    }

    /// The files and folders of a package.
    ///
    /// # Errors
    /// As [`Engine::owners`]; that there is no such package is [`EngineError::Refused`] too.
    pub async fn files(&self, name: String, offered: bool) -> Result<Vec<String>, EngineError> {
        let query = if offered { PathQuery::Offered(name) } else { PathQuery::Files(name) };
        match self.paths(&query).await? {
            PathAnswer::Files(files) => Ok(files),
            _ => Err(mismatched()),
        }
    }

    async fn paths(&self, query: &PathQuery) -> Result<PathAnswer, EngineError> {
        // Each reads as much as the package system's own tool.
        let _turn = self.resolvers.acquire().await;
        let mut command = self.helper("paths")?;
        command.arg("--copy").arg(self.copy_folder()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut line = Vec::new();
        write_line(&mut line, query).map_err(|error| EngineError::Internal(format!("the question: {error}")))?;
        let answer = self.run_helper(command, line, Vec::new()).await?;
        match read_line::<PathAnswer>(&mut answer.as_slice()) {
            Ok(Some(PathAnswer::Failed(failure))) => Err(EngineError::Refused(failure)),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(EngineError::Internal("omg-helper gave no answer".into())),
            Err(error) => Err(EngineError::Internal(format!("omg-helper gave an answer that cannot be read: {error}"))),
        }
    }
}

fn mismatched() -> EngineError {
    EngineError::Internal("omg-helper answered another question".into())
}
