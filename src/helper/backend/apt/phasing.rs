//! Phased updates: an archive offers a new version to a growing share of all machines, and each machine decides for
//! itself, in the same way every time, whether it belongs to that share.
//!
//! libapt-pkg 6.0 makes this decision inside its upgrader only; the rules here are those of its source. The draw depends
//! on the C++ library's `std::seed_seq`, `std::minstd_rand` (both fixed by the C++ standard) and
//! `std::uniform_int_distribution` (as in libstdc++).

use std::process::{Command, Stdio};

use rust_apt::config::Config;

/// Whether and how this machine takes part in phasing.
#[derive(Debug)]
pub enum Phasing {
    /// It takes every update at once.
    Everything,
    /// It waits for the end of every phasing.
    Nothing,
    /// It draws by its machine id.
    Draw { machine: String },
}

impl Phasing {
    /// Reads the settings; the costly questions are asked only once somebody needs the answer.
    pub fn of_machine(config: &Config) -> Self {
        let set = |name: &str| {
            config.bool(&format!("APT::Get::{name}"), config.bool(&format!("Update-Manager::{name}"), false))
        };
        if config.bool("APT::Get::Phase-Policy", false) || set("Always-Include-Phased-Updates") {
            return Self::Everything;
        }
        if set("Never-Include-Phased-Updates") {
            return Self::Nothing;
        }
        match machine_id(config) {
            Some(machine) if std::env::var_os("SOURCE_DATE_EPOCH").is_none() && !is_chroot(config) => {
                Self::Draw { machine }
            }
            _ => Self::Everything,
        }
    }

    /// Whether an update that `percentage` of all machines are offered is not offered to this one.
    pub fn holds_back(&self, source: &str, version: &str, percentage: u32) -> bool {
        match self {
            _ if percentage >= 100 => false,
            Self::Everything => false,
            Self::Nothing => true,
            Self::Draw { machine } => draw(&format!("{source}-{version}-{machine}")) > percentage,
        }
    }
}

fn machine_id(config: &Config) -> Option<String> {
    if let Some(id) = config.get("APT::Machine-ID") {
        return Some(id);
    }
    let text = std::fs::read_to_string(super::sources::machine_id_file(config)).ok()?;
    text.lines().next().filter(|id| !id.is_empty()).map(str::to_owned)
}

fn is_chroot(config: &Config) -> bool {
    let program = match config.file("Dir::Bin::ischroot", "") {
        path if path.is_empty() => "/usr/bin/ischroot".to_owned(),
        path => path,
    };
    Command::new(program)
        .arg("-t")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A number from 0 to 100 that `seed` determines.
fn draw(seed: &str) -> u32 {
    const MODULUS: u64 = 2_147_483_647;
    const MULTIPLIER: u64 = 48_271;
    let [.., last] = seed_sequence(seed.as_bytes());
    let mut state = match u64::from(last) % MODULUS {
        0 => 1,
        state => state,
    };
    // The generator's values less their minimum, cut into 101 equal parts; what is left over at the end draws again.
    let scale = (MODULUS - 2) / 101;
    loop {
        state = state * MULTIPLIER % MODULUS;
        let value = state - 1;
        if value < scale * 101 {
            return (value / scale) as u32;
        }
    }
}

/// `std::seed_seq::generate` for the four words that `std::minstd_rand` asks for; it uses the last one.
fn seed_sequence(seed: &[u8]) -> [u32; 4] {
    let mut words = [0x8b8b_8b8b_u32; 4];
    let [mut here, mut one, mut two, mut before] = words;
    let length = seed.len() as u32;
    let rounds = (length + 1).max(4);
    // The four words rotate so that `here` is always the one that round `k` begins with: k, k+1, k+2, k-1 modulo 4.
    for k in 0..rounds {
        let mixed = here ^ one ^ before;
        let first = (mixed ^ (mixed >> 27)).wrapping_mul(1_664_525);
        let second = match k {
            0 => first.wrapping_add(length),
            k if k <= length => {
                // Elements are of type char, which is signed on x86; machine ids and versions are ASCII.
                let element = seed.get(k as usize - 1).copied().unwrap_or_default();
                first.wrapping_add(k % 4).wrapping_add(i32::from(element.cast_signed()).cast_unsigned())
            }
            k => first.wrapping_add(k % 4),
        };
        one = one.wrapping_add(first);
        two = two.wrapping_add(second);
        here = second;
        (here, one, two, before) = (one, two, before, here);
    }
    for k in rounds..rounds + 4 {
        let mixed = here.wrapping_add(one).wrapping_add(before);
        let third = (mixed ^ (mixed >> 27)).wrapping_mul(1_566_083_941);
        let fourth = third.wrapping_sub(k % 4);
        one ^= third;
        two ^= fourth;
        here = fourth;
        (here, one, two, before) = (one, two, before, here);
    }
    // `here` now stands at the place of round `rounds + 4`.
    let rotated = [here, one, two, before];
    for (offset, word) in rotated.into_iter().enumerate() {
        if let Some(place) = words.get_mut((rounds as usize + offset) % 4) {
            *place = word;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values were printed by a C++ program with libstdc++ 12.
    #[test]
    fn draws_are_those_of_the_cpp_library() {
        for (seed, drawn) in [
            ("", 63),
            ("a", 94),
            ("ab", 53),
            ("abc", 18),
            ("bash-5.2.15-2-0123456789abcdef0123456789abcdef", 64),
            ("linux-6.1.0-1-0123456789abcdef0123456789abcdef", 90),
            ("systemd-255.4-1ubuntu8.4-fedcba9876543210fedcba9876543210", 32),
        ] {
            assert_eq!(draw(seed), drawn, "{seed:?}");
        }
        assert_eq!(seed_sequence(b"abc"), [0x5567_065d, 0x3a04_374c, 0x6eff_f255, 0x5766_7f1a]);
    }

    #[test]
    fn a_finished_phasing_holds_nothing_back() {
        let machine = Phasing::Draw { machine: "0".repeat(32) };
        assert!(!machine.holds_back("a", "1", 100));
        assert!(!Phasing::Nothing.holds_back("a", "1", 100));
        assert!(Phasing::Nothing.holds_back("a", "1", 99));
        assert!(!Phasing::Everything.holds_back("a", "1", 0));
    }
}
