//! Random choices that a printed seed repeats. Knows nothing of what is chosen.

/// A sequence that its seed fixes (splitmix64).
pub struct Random(u64);

impl Random {
    /// The sequence of `URA_TEST_SEED`, or of a new seed; says which.
    pub fn of_environment() -> Self {
        let given = std::env::var("URA_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = given.unwrap_or_else(new_seed);
        println!("URA_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number below `below`.
    pub fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> 40).expect("24 bits") % below
    }
}

/// Not from the clock: from the keys of a hash map, which the system makes random.
fn new_seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
