//! The keys that signatures of sources are checked with: a keyring of omg's own, which people let each key into.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::AurError;

/// A keyring, in a folder of its own.
#[derive(Debug, Clone)]
pub struct Keyring {
    folder: PathBuf,
}

impl Keyring {
    /// In this folder, which is made, for its owner alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, AurError> {
        super::build::make(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn gpg(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
        for name in ["PATH", "http_proxy", "https_proxy", "no_proxy"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("LC_ALL", "C.UTF-8").env("HOME", "/nonexistent").arg("--homedir").arg(&self.folder);
        command
    }

    /// Those of the keys that are not in it.
    ///
    /// # Errors
    /// When gpg cannot be run.
    pub async fn missing(&self, keys: &[String]) -> Result<Vec<String>, AurError> {
        let mut missing = Vec::new();
        for key in keys {
            let mut command = self.gpg("gpg");
            command.args(["--batch", "--no-autostart", "--with-colons", "--list-keys", "--", key]);
            let output = command.output().await.map_err(|error| unavailable(&error))?;
            if !output.status.success() {
                missing.push(key.clone());
            }
        }
        Ok(missing)
    }

    /// Fetches a key by its fingerprint, and nothing else with it.
    ///
    /// # Errors
    /// When the server does not have it or cannot be asked.
    pub async fn fetch(&self, key: &str, server: &str) -> Result<(), AurError> {
        let mut command = self.gpg("gpg");
        command.args(["--batch", "--no-auto-key-locate", "--keyserver", server, "--recv-keys", "--", key]);
        let output = command.output().await.map_err(|error| unavailable(&error))?;
        // What it starts to fetch with would stay.
        let _ = self.gpg("gpgconf").args(["--kill", "all"]).output().await;
        // gpg refuses what a server sends for another fingerprint; that the key is there now is what counts.
        if self.missing(&[key.to_owned()]).await?.is_empty() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        Err(AurError::Network(format!("the key {key} did not come from {server}: {}", said.join("; "))))
    }

    /// Copies it to where a build may do with it what it likes.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy_to(&self, folder: &Path) -> Result<(), AurError> {
        for name in ["pubring.kbx", "pubring.gpg", "trustdb.gpg"] {
            match fs::copy(self.folder.join(name), folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(AurError::io("the keyring cannot be copied", &error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn unavailable(error: &std::io::Error) -> AurError {
    AurError::Unavailable(format!("gpg cannot be run: {error}; install gnupg"))
}
