//! Resolves actions as apt-get would.

use omg::transaction::{Change, Failure, FailureKind, Item, Plan, Request, Resolution, Verb};
use rust_apt::Cache;
use rust_apt::cache::Upgrade;
use rust_apt::config::Config;

use super::super::System;
use super::settings;

/// The plan for a request; nothing is locked and nothing changed.
///
/// # Errors
/// When there is no such plan, in apt's own words, or apt cannot read its lists.
pub fn plan(system: &System, request: &Request) -> Result<Plan, Failure> {
    let (_, _, plan) = resolved(system, request)?;
    Ok(plan)
}

/// Opens apt's cache and marks in it what the request comes to: the cache is ready to be committed.
///
/// # Errors
/// As [`plan`].
pub fn resolved(system: &System, request: &Request) -> Result<(Config, Cache, Plan), Failure> {
    let internal = |text: String| Failure::new(FailureKind::Internal, text);
    let config = settings::load(system, &mut Vec::new()).map_err(|e| internal(e.to_string()))?;
    let cache = super::open(&mut Vec::new()).map_err(|e| internal(e.to_string()))?;
    let mut items = Vec::new();
    let find = |name: &str| cache.get(name).ok_or_else(|| Failure::new(FailureKind::NotFound, name.to_owned()));
    for action in &request.actions {
        let simple = |change, name: &str| Item {
            change,
            name: name.into(),
            arch: "amd64".into(),
            from: String::new(),
            to: String::new(),
            repository: String::new(),
            download: 0,
            delta: 0,
            explicit: true,
            sha256: String::new(),
        };
        match action.verb() {
            Verb::Install | Verb::Upgrade => {
                let p = find(action.target())?;
                p.mark_install(true, action.verb() == Verb::Install);
                p.protect();
            }
            Verb::Reinstall => {
                find(action.target())?.mark_reinstall(true);
            }
            Verb::Remove | Verb::Purge => {
                let p = find(action.target())?;
                p.mark_delete(action.verb() == Verb::Purge);
                p.protect();
            }
            Verb::Autoremove => {
                for p in cache.iter().filter(|p| p.is_auto_removable() && p.is_installed()) {
                    p.mark_delete(false);
                }
            }
            Verb::UpgradeAll => {
                cache.upgrade(Upgrade::Upgrade).map_err(|e| internal(e.to_string()))?;
            }
            Verb::FullUpgrade => {
                cache.upgrade(Upgrade::FullUpgrade).map_err(|e| internal(e.to_string()))?;
            }
            Verb::Hold => items.push(simple(Change::Hold, action.target())),
            Verb::Unhold => items.push(simple(Change::Unhold, action.target())),
            Verb::MarkExplicit => {
                find(action.target())?.mark_auto(false);
                items.push(simple(Change::MarkExplicit, action.target()));
            }
            Verb::MarkDependency => {
                find(action.target())?.mark_auto(true);
                items.push(simple(Change::MarkDependency, action.target()));
            }
            Verb::Clean => items.push(simple(Change::Clean, "archives")),
            Verb::Repair => {
                for p in cache.iter() {
                    let raw: &rust_apt::raw::PkgIterator = &p;
                    if matches!(raw.inst_state(), 1 | 3) || raw.current_state() == 4 {
                        p.mark_reinstall(true);
                    } else if matches!(raw.current_state(), 1 | 2 | 7 | 8) {
                        items.push(simple(Change::Configure, p.name()));
                    }
                }
                cache.fix_broken();
            }
            Verb::InstallFile => return Err(internal("no files yet".into())),
        }
    }
    cache.resolve(true).map_err(|e| Failure::new(FailureKind::ResolutionFailed, e.to_string()))?;
    for p in cache.get_changes(true) {
        let change = if p.marked_purge() {
            Change::Purge
        } else if p.marked_delete() {
            Change::Remove
        } else if p.marked_new_install() {
            Change::Install
        } else if p.marked_upgrade() {
            Change::Upgrade
        } else if p.marked_downgrade() {
            Change::Downgrade
        } else {
            Change::Reinstall
        };
        let to = p.install_version();
        items.push(Item {
            change,
            name: p.name().into(),
            arch: p.arch().into(),
            from: p.installed().map(|v| v.version().to_owned()).unwrap_or_default(),
            to: if p.marked_delete() {
                String::new()
            } else {
                to.as_ref().or(p.candidate().as_ref()).map(|v| v.version().to_owned()).unwrap_or_default()
            },
            repository: "x".into(),
            download: p.candidate().map(|v| v.size()).unwrap_or(0),
            delta: 0,
            explicit: !p.is_auto_installed(),
            sha256: String::new(),
        });
    }
    Ok((
        config,
        cache,
        Plan::new(request.actions.clone(), request.options.clone(), Resolution { items, ..Resolution::default() }),
    ))
}
