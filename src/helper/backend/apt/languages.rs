//! Which translations apt is set to use, by the rules of apt.conf(5), `Acquire::Languages`.

use rust_apt::config::Config;

/// The languages in which `LANGUAGE` may add translations.
const MAX_FALLBACKS: usize = 3;

/// Codes of the wanted languages, most wanted first.
pub fn wanted(config: &Config) -> Vec<String> {
    let mut listed = config.find_vector("Acquire::Languages");
    if listed.is_empty() {
        let single = config.find("Acquire::Languages", "environment,en");
        listed = single.split(',').map(|code| code.trim().to_owned()).collect();
    }
    let messages = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(|name| variable(name)).unwrap_or_default();
    order(&listed, &environment(&messages, &variable("LANGUAGE").unwrap_or_default()))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The codes that a locale and the fallbacks of `LANGUAGE` stand for.
fn environment(locale: &str, fallbacks: &str) -> Vec<String> {
    let long = locale.split(['.', '@']).next().unwrap_or_default();
    let short = long.split('_').next().unwrap_or_default();
    if matches!(short, "" | "C" | "POSIX") {
        return vec!["en".to_owned()];
    }
    let mut codes = vec![long];
    if short != long {
        codes.push(short);
    }
    let mut added = 0;
    for code in fallbacks.split(':').filter(|code| !code.is_empty() && *code != "en") {
        if added < MAX_FALLBACKS && !codes.contains(&code) {
            codes.push(code);
            added += 1;
        }
    }
    codes.into_iter().map(str::to_owned).collect()
}

/// The configured codes with `environment` filled in, each once, up to `none`.
fn order(listed: &[String], environment: &[String]) -> Vec<String> {
    let mut codes: Vec<String> = Vec::new();
    for code in listed.iter().take_while(|code| *code != "none") {
        let several = if code == "environment" { environment } else { std::slice::from_ref(code) };
        for code in several {
            if !codes.contains(code) {
                codes.push(code.clone());
            }
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(listed: &[&str], locale: &str, fallbacks: &str) -> Vec<String> {
        let listed: Vec<String> = listed.iter().map(|code| (*code).to_owned()).collect();
        order(&listed, &environment(locale, fallbacks))
    }

    #[test]
    fn the_environment_takes_its_place_in_the_configured_order() {
        assert_eq!(ordered(&["environment", "en"], "de_DE.UTF-8", ""), ["de_DE", "de", "en"]);
        assert_eq!(ordered(&["environment", "en"], "C.UTF-8", "fr"), ["en"]);
        assert_eq!(ordered(&["en", "environment", "de"], "de_DE", "fr:en:it"), ["en", "de_DE", "de", "fr", "it"]);
        assert_eq!(ordered(&["fr", "none", "de"], "de_DE", ""), ["fr"]);
        assert!(ordered(&["none"], "de_DE.UTF-8", "").is_empty());
    }
}
