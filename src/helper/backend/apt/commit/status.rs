//! The lines in which apt and dpkg tell how far they are (apt's README.progress-reporting, dpkg(1) `--status-fd`).

use std::path::Path;

use omg::transaction::ItemState;

/// One line.
#[derive(Debug, PartialEq)]
pub enum Line<'a> {
    /// dpkg is about to be started.
    DpkgStarts,
    /// A package, as `name` or `name:arch`, is in a new state.
    Package { name: String, state: ItemState },
    /// The same, with how far the whole is, from 0 to 1.
    Progress { name: String, state: Option<ItemState>, fraction: f64 },
    /// Something went wrong with a package.
    Error { name: String, text: &'a str },
    /// dpkg asks what to do with a configuration file, and waits.
    Conffile { path: &'a str },
}

impl<'a> Line<'a> {
    /// `None` for a line of any other form.
    pub fn parse(line: &'a str) -> Option<Self> {
        if let Some(rest) = line.strip_prefix("status: ") {
            return Self::of_dpkg(rest);
        }
        let (kind, rest) = line.split_once(':')?;
        let (about, percent, text) = about_percent_text(rest)?;
        match kind {
            "pmstatus" if about == "dpkg-exec" => Some(Self::DpkgStarts),
            "pmstatus" => {
                let name = match architecture(text) {
                    Some(architecture) if !about.contains(':') => format!("{about}:{architecture}"),
                    _ => about.to_owned(),
                };
                Some(Self::Progress { name, state: state_of_words(text), fraction: percent / 100.0 })
            }
            "pmerror" => Some(Self::Error { name: package_of(about), text }),
            "pmconffile" => Some(Self::Conffile { path: about }),
            _ => None,
        }
    }

    /// `package: state`, `package : error : text`, `path : conffile-prompt : …`
    fn of_dpkg(rest: &'a str) -> Option<Self> {
        if let Some((about, text)) = rest.split_once(" : error : ") {
            return Some(Self::Error { name: package_of(about), text });
        }
        if let Some((path, _)) = rest.split_once(" : conffile-prompt : ") {
            return Some(Self::Conffile { path });
        }
        let (name, state) = rest.rsplit_once(": ")?;
        let state = match state.trim() {
            "half-installed" => ItemState::Unpacking,
            "unpacked" => ItemState::Unpacked,
            "half-configured" => ItemState::Configuring,
            "installed" | "triggers-awaited" | "triggers-pending" => ItemState::Installed,
            "config-files" | "not-installed" => ItemState::Removed,
            _ => return None,
        };
        Some(Self::Package { name: name.to_owned(), state })
    }
}

/// Splits `about:percent:text`, where `about` may hold colons itself.
fn about_percent_text(rest: &str) -> Option<(&str, f64, &str)> {
    rest.match_indices(':').find_map(|(position, _)| {
        let (percent, text) = rest.get(position + 1..)?.split_once(':')?;
        Some((rest.get(..position)?, percent.parse().ok()?, text))
    })
}

/// The architecture in `Unpacking name (arch)`.
fn architecture(text: &str) -> Option<&str> {
    text.strip_suffix(')')?.rsplit_once(" (").map(|(_, architecture)| architecture)
}

/// apt tells states in words, and what dpkg turns to next in others; no locale is set, so they are always these.
fn state_of_words(text: &str) -> Option<ItemState> {
    const WORDS: [(&str, ItemState); 12] = [
        ("Preparing to configure ", ItemState::Configuring),
        ("Preparing to completely remove ", ItemState::Removing),
        ("Preparing for removal of ", ItemState::Removing),
        ("Preparing ", ItemState::Unpacking),
        ("Unpacking ", ItemState::Unpacking),
        // The files are in place.
        ("Installing ", ItemState::Unpacked),
        ("Configuring ", ItemState::Configuring),
        ("Installed ", ItemState::Installed),
        ("Removing ", ItemState::Removing),
        ("Removed ", ItemState::Removed),
        ("Completely removing ", ItemState::Removing),
        ("Completely removed ", ItemState::Removed),
    ];
    WORDS.iter().find(|(words, _)| text.starts_with(words)).map(|(_, state)| *state)
}

/// Errors of unpacking name the package by its file.
fn package_of(about: &str) -> String {
    let Some(file) = about.strip_suffix(".deb") else { return about.to_owned() };
    let file = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or(file);
    let mut parts = file.split('_');
    match (parts.next(), parts.next_back()) {
        (Some(name), Some(architecture)) => format!("{name}:{architecture}"),
        _ => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, state: ItemState) -> Option<Line<'static>> {
        Some(Line::Package { name: name.to_owned(), state })
    }

    #[test]
    fn lines_of_apt_tell_packages_errors_and_questions() {
        let progress = |name: &str, state, fraction| Some(Line::Progress { name: name.to_owned(), state, fraction });
        assert_eq!(Line::parse("pmstatus:dpkg-exec:0.0000:Running dpkg"), Some(Line::DpkgStarts));
        assert_eq!(
            Line::parse("pmstatus:vim:25.0000:Configuring vim (amd64)"),
            progress("vim:amd64", Some(ItemState::Configuring), 0.25)
        );
        assert_eq!(
            Line::parse("pmstatus:vim:50.0000:Preparing to configure vim (amd64)"),
            progress("vim:amd64", Some(ItemState::Configuring), 0.5)
        );
        assert_eq!(
            Line::parse("pmstatus:man-db:75.0000:Running post-installation trigger man-db (amd64)"),
            progress("man-db:amd64", None, 0.75)
        );
        assert_eq!(
            Line::parse(
                "pmerror:/var/cache/apt/archives/a_1%3a2_all.deb:33.3333:trying to overwrite '/x': which is in b"
            ),
            Some(Line::Error { name: "a:all".into(), text: "trying to overwrite '/x': which is in b" })
        );
        assert_eq!(
            Line::parse("pmconffile:/etc/a:b.conf:50.0000:'/etc/a:b.conf' '/etc/a:b.conf.dpkg-new' 1 1 "),
            Some(Line::Conffile { path: "/etc/a:b.conf" })
        );
        for other in ["", "pmstatus", "pmstatus:a", "pmstatus:a:b", "dlstatus:1:2:3", ":::"] {
            assert_eq!(Line::parse(other), None, "{other}");
        }
    }

    #[test]
    fn lines_of_dpkg_tell_the_same() {
        assert_eq!(Line::parse("status: vim:amd64: half-configured"), package("vim:amd64", ItemState::Configuring));
        assert_eq!(Line::parse("status: vim: installed"), package("vim", ItemState::Installed));
        assert_eq!(
            Line::parse("status: vim : error : script returned error: exit status 1"),
            Some(Line::Error { name: "vim".into(), text: "script returned error: exit status 1" })
        );
        assert_eq!(
            Line::parse("status: /etc/a : conffile-prompt : '/etc/a' '/etc/a.dpkg-new' 1 1"),
            Some(Line::Conffile { path: "/etc/a" })
        );
        assert_eq!(Line::parse("processing: configure: vim"), None);
    }
}
