//! A seeded generator (SplitMix64). The seed is `OMG_TEST_SEED`; without it the time or, where `CI=true`, a constant, so that
//! the verdict on a change does not depend on when it is reached. A failed test shows it.

// Each target uses its part.
#![allow(dead_code, reason = "shared by test targets that each use a part")]

/// The seed where `CI=true`.
const CONSTANT: u64 = 20_260_101;

#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of a test, which prints its seed.
    pub fn of_test(test: &str) -> Self {
        let seed = match std::env::var("OMG_TEST_SEED") {
            Ok(text) => text.parse().expect("OMG_TEST_SEED is a number"),
            Err(_) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => CONSTANT,
            Err(_) => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.map_or(1, |since| since.as_nanos() as u64)
            }
        };
        println!("{test}: OMG_TEST_SEED={seed}");
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
