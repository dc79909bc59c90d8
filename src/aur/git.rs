//! The repository of a package base, as git has cloned it: bare, and read with git's own programs.
//!
//! Its contents are somebody else's. git is run without anybody's configuration, without hooks, filters and submodules, and
//! with the one protocol that the address has.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::{AurError, is_package_name};

/// Most bytes of changes that are told at once.
pub const MAX_CHANGES: u64 = 4 << 20;

/// Most files in a repository.
const MAX_FILES: usize = 2000;

/// Most that is kept of what git says.
const MAX_SAID: u64 = 16 << 10;

/// For fetching and reading a repository, and for asking another where it stands.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const ANSWER: Duration = Duration::from_secs(20);

/// No line ends, identifiers, encodings or filters: gitattributes(5).
const AS_IT_IS: &str = "* -text !eol !ident !filter !working-tree-encoding\n";

/// Where the newest fetched commit is kept.
const HEAD: &str = "refs/omg/head";

/// What git calls the tree without files.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// A package base's repository.
#[derive(Debug, Clone)]
pub struct Repository {
    base: String,
    folder: PathBuf,
    address: String,
}

/// Whether it is the full name of a commit.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// git with nothing of anybody's configuration, as `$HOME` with nothing in it.
fn git(address: &str) -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    for name in ["PATH", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let protocol = address.split("://").next().unwrap_or_default();
    command
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "/bin/false")
        .env("GIT_SSH_COMMAND", "/bin/false")
        .env("GIT_ALLOW_PROTOCOL", protocol)
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        // A folder that the user happens to be in may be a repository with settings of its own.
        .current_dir("/")
        .stdin(Stdio::null())
        .process_group(0);
    for setting in [
        "credential.helper=",
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "core.symlinks=false",
        "core.protectNTFS=true",
        "core.protectHFS=true",
        "fetch.fsckObjects=true",
        "submodule.recurse=false",
        "gc.auto=0",
        "maintenance.auto=false",
        // The first answer may lead elsewhere, as for a repository that was renamed; the protocol stays.
        "http.followRedirects=initial",
        // Given up where nothing comes for a minute.
        "http.lowSpeedLimit=1",
        "http.lowSpeedTime=60",
    ] {
        command.args(["-c", setting]);
    }
    command
}

/// Runs git to its end, which has to come in time; what it printed, at most so many bytes.
async fn output(command: Command, most: u64, patience: Duration) -> Result<Vec<u8>, String> {
    let ended = tokio::time::timeout(patience, to_the_end(command, most)).await;
    ended.unwrap_or_else(|_| Err(format!("git was not done after {} s", patience.as_secs())))
}

/// A git with what it started: the programs that speak the protocols.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // One that was waited for has no number any more, and its programs have ended before it.
        let leader = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(leader) = leader {
            // Nobody is left to end where there is none.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

async fn to_the_end(mut command: Command, most: u64) -> Result<Vec<u8>, String> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut group = Group(child.map_err(|error| format!("git cannot be run: {error}"))?);
    let child = &mut group.0;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut printed, mut said) = (Vec::new(), Vec::new());
    let read = async {
        if let Some(stdout) = stdout {
            let mut bounded = stdout.take(most + 1);
            let _ = bounded.read_to_end(&mut printed).await;
        }
    };
    let listen = async {
        if let Some(stderr) = stderr {
            let mut bounded = stderr.take(MAX_SAID);
            let _ = bounded.read_to_end(&mut said).await;
            let _ = tokio::io::copy(&mut bounded.into_inner(), &mut tokio::io::sink()).await;
        }
    };
    tokio::join!(read, listen);
    if printed.len() as u64 > most {
        return Err(format!("more than {most} bytes"));
    }
    let status = child.wait().await.map_err(|error| format!("git cannot be waited for: {error}"))?;
    if status.success() {
        return Ok(printed);
    }
    let said = String::from_utf8_lossy(&said);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(format!("git failed ({status}): {}", said.join("; ")))
}

/// Whether a stranger's address is one that git is asked about outside of the sandbox: of a protocol that starts no program
/// and reads no file of this machine, with a host that is no option.
fn may_be_asked(address: &str) -> bool {
    let rest = ["https://", "http://", "git://"].iter().find_map(|scheme| address.strip_prefix(scheme));
    let host = rest.and_then(|rest| rest.split('/').next()).map(|host| host.rsplit('@').next().unwrap_or(host));
    host.is_some_and(|host| host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '['))
        && address.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The commit that a branch or tag of another repository stands at; `None` where there is no such. Nobody is asked for a
/// password, and one that does not answer within [`ANSWER`] is given up.
///
/// # Errors
/// When it cannot be asked, or must not be.
pub async fn remote_commit(address: &str, reference: &str) -> Result<Option<String>, AurError> {
    if !may_be_asked(address) {
        let address = address.escape_debug();
        return Err(AurError::Invalid(format!("{address} is no address that git is asked about")));
    }
    let mut command = git(address);
    command.args(["ls-remote", "--", address, reference]);
    let told =
        output(command, MAX_CHANGES, ANSWER).await.map_err(|why| AurError::Network(format!("{address}: {why}")))?;
    let told = String::from_utf8_lossy(&told);
    let mut lines = told.lines().filter_map(|line| line.split_once('\t'));
    Ok(lines.find(|(commit, name)| *name == reference && is_commit(commit)).map(|(commit, _)| commit.to_owned()))
}

impl Repository {
    /// Of the package base `base`, from `aur` (`https://aur.archlinux.org`), to be kept in `folder`.
    ///
    /// # Errors
    /// When the name is none.
    pub fn new(aur: &str, base: &str, folder: &Path) -> Result<Self, AurError> {
        if !is_package_name(base) {
            return Err(AurError::Invalid(format!("{} is no package base", base.escape_debug())));
        }
        let address = format!("{}/{base}.git", aur.trim_end_matches('/'));
        Ok(Self { base: base.to_owned(), folder: folder.to_owned(), address })
    }

    fn git(&self) -> Command {
        let mut command = git(&self.address);
        command.arg("--git-dir").arg(&self.folder);
        command
    }

    async fn run(&self, arguments: &[&str], most: u64) -> Result<Vec<u8>, String> {
        let mut command = self.git();
        command.args(arguments);
        output(command, most, PATIENCE).await
    }

    fn failed(&self, why: &str) -> AurError {
        AurError::Failed(format!("the repository of {}, {}: {why}", self.base, self.folder.display()))
    }

    /// Fetches what is new; the newest commit.
    ///
    /// # Errors
    /// When there is no such repository, or it cannot be fetched.
    pub async fn fetch(&self) -> Result<String, AurError> {
        if !self.folder.join("HEAD").exists() {
            let mut command = git(&self.address);
            command.args(["init", "--quiet", "--bare", "--template=", "--"]).arg(&self.folder);
            output(command, MAX_SAID, PATIENCE).await.map_err(|why| self.failed(&why))?;
        }
        let refspec = format!("+HEAD:{HEAD}");
        let arguments = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--"];
        let fetched = self.run(&[&arguments[..], &[&self.address, &refspec]].concat(), MAX_SAID).await;
        fetched.map_err(|why| {
            AurError::Network(format!("{} cannot be fetched from {}: {why}", self.base, self.address))
        })?;
        self.commit(HEAD).await
    }

    async fn commit(&self, reference: &str) -> Result<String, AurError> {
        let wanted = format!("{reference}^{{commit}}");
        let printed = self.run(&["rev-parse", "--verify", "--end-of-options", &wanted], MAX_SAID).await;
        let printed = printed.map_err(|why| self.failed(&why))?;
        let commit = String::from_utf8_lossy(&printed).trim().to_owned();
        if is_commit(&commit) { Ok(commit) } else { Err(self.failed("git named no commit")) }
    }

    /// Whether a commit is there.
    pub async fn has(&self, commit: &str) -> bool {
        self.commit(commit).await.is_ok()
    }

    /// Keeps a commit, also when the history that it is part of is replaced.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn keep(&self, commit: &str) -> Result<(), AurError> {
        self.run(&["update-ref", "refs/omg/reviewed", commit], MAX_SAID).await.map_err(|why| self.failed(&why))?;
        Ok(())
    }

    /// The files of a commit.
    ///
    /// # Errors
    /// When it is not there, or has what no package needs: links and repositories inside it.
    pub async fn files(&self, commit: &str) -> Result<Vec<String>, AurError> {
        let printed = self.run(&["ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit], MAX_CHANGES).await;
        let printed = printed.map_err(|why| self.failed(&why))?;
        let mut files = Vec::new();
        for line in printed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let line = std::str::from_utf8(line)
                .map_err(|_| AurError::Unsound(format!("{} has a file whose name is not UTF-8", self.base)))?;
            let (kind, path) = line.split_once('\t').ok_or_else(|| self.failed("git listed no file"))?;
            if !kind.starts_with("100") {
                let path = path.escape_debug();
                let text =
                    format!("{} has {path}, which is no file but a link or a repository: it is not built", self.base);
                return Err(AurError::Unsound(text));
            }
            files.push(path.to_owned());
            if files.len() > MAX_FILES {
                return Err(AurError::Unsound(format!("{} has more than {MAX_FILES} files", self.base)));
            }
        }
        Ok(files)
    }

    /// The contents of a file in a commit.
    ///
    /// # Errors
    /// When there is no such, or it is larger than [`MAX_CHANGES`].
    pub async fn file(&self, commit: &str, path: &str) -> Result<Vec<u8>, AurError> {
        let object = format!("{commit}:{path}");
        let printed = self.run(&["cat-file", "blob", &object], MAX_CHANGES).await;
        printed.map_err(|why| AurError::Unsound(format!("{}: {path} cannot be read: {why}", self.base)))
    }

    /// What differs between two commits, as `git diff` tells it, every file as text; without a first one, everything that
    /// is in the second.
    ///
    /// # Errors
    /// When one of them is not there, or it is more than [`MAX_CHANGES`].
    pub async fn changes(&self, from: Option<&str>, to: &str) -> Result<Vec<u8>, AurError> {
        // What the repository says about its own files (gitattributes) must not hide them: `--text`.
        let arguments = [
            "diff",
            "--text",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--no-renames",
            "--full-index",
            "--src-prefix=a/",
            "--dst-prefix=b/",
            "--end-of-options",
            from.unwrap_or(EMPTY_TREE),
            to,
            "--",
        ];
        self.run(&arguments, MAX_CHANGES).await.map_err(|why| {
            let folder = self.folder.display();
            let text = format!(
                "the changes of {} cannot be shown: {why}; look at them with `git --git-dir {folder} diff`",
                self.base
            );
            AurError::Unsound(text)
        })
    }

    /// Puts the files of a commit into an empty folder.
    ///
    /// # Errors
    /// When the commit is not there or a file cannot be written.
    pub async fn check_out(&self, commit: &str, folder: &Path) -> Result<(), AurError> {
        self.files(commit).await?;
        // What is built is what was looked at, byte for byte, whatever the commit's own .gitattributes ask for: these come
        // before them (gitattributes(5)).
        let attributes = self.folder.join("info/attributes");
        let written =
            std::fs::create_dir_all(self.folder.join("info")).and_then(|()| std::fs::write(&attributes, AS_IT_IS));
        written.map_err(|error| AurError::io(attributes.display(), &error))?;
        // Read with an index of its own: nothing is left for the next one.
        let index = self.folder.join("omg-index");
        let _ = std::fs::remove_file(&index);
        for arguments in [vec!["read-tree", "--end-of-options", commit], vec!["checkout-index", "--all", "--force"]] {
            let mut command = self.git();
            command.env("GIT_INDEX_FILE", &index).arg("--work-tree").arg(folder).args(&arguments).current_dir(folder);
            output(command, MAX_SAID, PATIENCE).await.map_err(|why| self.failed(&why))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn with_a_git_that_is_given_up_ends_what_speaks_for_it() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/x.git", silent.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let (mut connection, _) = silent.accept().unwrap();
            connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            // Answers nothing; the end of the connection is that of the program at its other end.
            let mut request = Vec::new();
            match connection.read_to_end(&mut request) {
                Ok(_) => true,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        });
        let mut command = git(&address);
        command.args(["ls-remote", "--", &address, "HEAD"]);
        let told = output(command, MAX_SAID, Duration::from_secs(2)).await;
        assert_eq!(told, Err("git was not done after 2 s".to_owned()));
        assert!(asked.join().unwrap(), "what git started still waits for an answer");
    }

    #[tokio::test]
    async fn addresses_that_could_run_programs_or_read_files_are_not_asked() {
        for hostile in [
            "ext::sh -c id",
            "file:///etc",
            "/etc/passwd",
            "ssh://example.org/x",
            "git@example.org:x",
            "git://-oProxyCommand=id/x",
            "https://user@-u/x",
            "https:///x",
            "https://",
            "https://example.org/a b",
            "https://example.org/\u{202e}x",
            "--upload-pack=id",
            "HTTPS://example.org/x",
        ] {
            let refused = remote_commit(hostile, "HEAD").await;
            assert!(matches!(refused, Err(AurError::Invalid(_))), "{hostile}: {refused:?}");
        }
        for plain in ["https://example.org/x.git", "git://example.org/x", "http://[::1]:8080/x", "https://u@e.org/x"] {
            assert!(may_be_asked(plain), "{plain}");
        }
    }
}
