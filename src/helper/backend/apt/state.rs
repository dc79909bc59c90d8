//! The state of one package.

use omg::package::Flags;
use rust_apt::raw::PkgIterator;
use rust_apt::{DepType, Package, Version};

use super::assemble::PackageFacts;
use super::origin::Origins;

/// Values of `pkgCache::State::PkgCurrentState`.
pub mod current {
    pub const NOT_INSTALLED: u8 = 0;
    pub const UNPACKED: u8 = 1;
    pub const HALF_CONFIGURED: u8 = 2;
    pub const HALF_INSTALLED: u8 = 4;
    pub const CONFIG_FILES: u8 = 5;
    pub const TRIGGERS_AWAITED: u8 = 7;
    pub const TRIGGERS_PENDING: u8 = 8;
}

/// Value of `pkgCache::State::PkgSelectedState`.
pub const SELECTED_HOLD: u8 = 2;

/// Values of `pkgCache::State::PkgInstState`.
pub const INST_OK: u8 = 0;
pub const REINSTALL_REQUIRED: [u8; 2] = [1, 3];

/// All flags but [`Flags::PHASED`].
pub fn flags(package: &Package<'_>, facts: &PackageFacts<'_>, origins: &Origins, native: &str) -> Flags {
    // The wrapper of the bindings panics on numbers that it does not know.
    let raw: &PkgIterator = package;
    let installed = facts.installed.is_some();
    let upgradable = package.is_upgradable();
    let downloadable = |numbers: &[u16]| origins.each(numbers).any(|origin| origin.downloadable);
    let mut flags = Flags::empty();
    flags.set(Flags::INSTALLED, installed);
    flags.set(Flags::EXPLICIT, installed && !package.is_auto_installed());
    flags.set(Flags::UPGRADABLE, upgradable);
    flags.set(Flags::SECURITY, upgradable && brings_security_fix(facts, origins));
    flags.set(Flags::ORPHAN, installed && package.is_auto_removable());
    flags.set(Flags::HELD, raw.selected_state() == SELECTED_HOLD);
    flags.set(Flags::FOREIGN, installed && !facts.versions.iter().any(|version| downloadable(&version.origins)));
    flags.set(Flags::ESSENTIAL, raw.is_essential());
    flags.set(Flags::RESIDUAL, raw.current_state() == current::CONFIG_FILES);
    let unfinished = waits_for_configuration(package) || raw.current_state() == current::HALF_INSTALLED;
    let unmet = installed && package.is_now_broken();
    flags.set(Flags::BROKEN, unfinished || unmet || REINSTALL_REQUIRED.contains(&raw.inst_state()));
    flags.set(Flags::FOREIGN_ARCH, facts.arch != native);
    flags
}

/// Whether it is unpacked, and dpkg still has to configure it or to run its triggers.
pub fn waits_for_configuration(package: &Package<'_>) -> bool {
    let raw: &PkgIterator = package;
    matches!(
        raw.current_state(),
        current::UNPACKED | current::HALF_CONFIGURED | current::TRIGGERS_AWAITED | current::TRIGGERS_PENDING
    )
}

/// Whether something is to be done with it, by its marks or for what dpkg left.
pub fn is_touched(package: &Package<'_>) -> bool {
    package.marked_delete()
        || package.marked_install()
        || package.marked_reinstall()
        || waits_for_configuration(package)
}

/// Whether a version above the installed one, up to the candidate, comes from a security archive.
fn brings_security_fix(facts: &PackageFacts<'_>, origins: &Origins) -> bool {
    let (Some(candidate), Some(installed)) = (facts.candidate, facts.installed) else { return false };
    let newer = facts.versions.get(candidate..installed).unwrap_or_default();
    newer.iter().any(|version| origins.each(&version.origins).any(|origin| origin.security))
}

/// What an installed version needs that is installed: the field's name and apt's number of the package.
pub fn needs(installed: &Version<'_>) -> impl Iterator<Item = (&'static str, usize)> {
    let own = installed.parent().index();
    let mut needs = Vec::new();
    for kind in [DepType::PreDepends, DepType::Depends, DepType::Recommends, DepType::Suggests] {
        let dependencies = installed.get_depends(&kind).map(Vec::as_slice).unwrap_or_default();
        for alternative in dependencies.iter().flat_map(|dependency| dependency.iter()) {
            for target in alternative.all_targets().iter().filter(|target| target.is_installed()) {
                let needed = target.parent().index();
                if needed != own {
                    needs.push((kind.to_str(), needed));
                }
            }
        }
    }
    needs.into_iter()
}
