//! Which plug takes a call: the better of two taken at random, by its calls in hand and its failures lately;
//! those that are put out, at most half of all, take none. A pure core: knows no connection and no clock.

use rand::Rng;
use tokio::time::Instant;

use super::standing::Use;

/// How much worse a plug looks whose calls all failed lately: as if it had so many times the calls in hand.
const FAILURES_WEIGHT: f64 = 15.0;

/// A plug that could take the call: it is connected, says that it serves, and has room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Its place in the list.
    pub(crate) at: usize,
    /// Calls in hand.
    pub(crate) in_flight: usize,
    /// Share of failures lately, 0 to 1.
    pub(crate) recent: f64,
    /// What may be sent on it.
    pub(crate) usable: Use,
}

impl Candidate {
    /// The lower the better.
    fn cost(&self) -> f64 {
        let calls = u32::try_from(self.in_flight).unwrap_or(u32::MAX);
        (f64::from(calls) + 1.0) * (1.0 + FAILURES_WEIGHT * self.recent)
    }
}

/// Why none is taken though there are candidates: the calls of all of them fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shut {
    /// When the first of them may be tried again; `None` while one is on trial.
    pub(crate) until: Option<Instant>,
}

/// Chooses among the candidates of a service that has so many plugs. `None`: there is no candidate.
pub(crate) fn choose<R: Rng>(
    candidates: impl Iterator<Item = Candidate>,
    plugs: usize,
    random: &mut R,
) -> Option<Result<usize, Shut>> {
    // In the order in which they are used: full members of the draw, those on their return, those that are out
    // without certainty.
    let (mut drawn, mut returning, mut doubtful) = (Pair::default(), Pair::default(), Pair::default());
    // Where more than half of the plugs are out, the others would be drowned: so some stay in, and the
    // cost keeps calls away from them as far as the others can take them.
    let (out_max, mut out) = (plugs / 2, 0);
    let (mut any, mut hope, mut on_trial, mut until) = (false, false, false, None::<Instant>);
    // Whether the draw has others than those that fail for certain.
    let mut drawable = false;
    for candidate in candidates {
        any = true;
        match candidate.usable {
            Use::Share(share) => {
                hope = true;
                let member = share >= 1.0 || random.random_bool(share.clamp(0.0, 1.0));
                drawable |= member;
                if member { &mut drawn } else { &mut returning }.offer(candidate, random);
            }
            Use::Trial => {
                hope = true;
                let member = random.random_bool(0.1);
                drawable |= member;
                if member { &mut drawn } else { &mut returning }.offer(candidate, random);
            }
            Use::OnTrial => on_trial = true,
            Use::Out { until: then, certain } => {
                until = Some(until.map_or(then, |first| first.min(then)));
                hope |= !certain;
                if out >= out_max {
                    drawable |= !certain;
                    drawn.offer(candidate, random);
                } else {
                    out += 1;
                    if !certain {
                        doubtful.offer(candidate, random);
                    }
                }
            }
        }
    }
    if !any {
        return None;
    }
    if !hope {
        return Some(Err(Shut { until: until.filter(|_| !on_trial) }));
    }
    let better = drawn.better().filter(|_| drawable);
    let better = better.or_else(|| returning.better()).or_else(|| doubtful.better());
    Some(better.ok_or(Shut { until: until.filter(|_| !on_trial) }))
}

/// Two of all that were offered, each pair equally likely.
#[derive(Default)]
struct Pair {
    offered: u32,
    first: Option<(usize, f64)>,
    second: Option<(usize, f64)>,
}

impl Pair {
    fn offer<R: Rng>(&mut self, candidate: Candidate, random: &mut R) {
        let taken = Some((candidate.at, candidate.cost()));
        self.offered += 1;
        match self.offered {
            1 => self.first = taken,
            // Which of the two is asked first decides where both are as good.
            2 if random.random_bool(0.5) => self.second = std::mem::replace(&mut self.first, taken),
            2 => self.second = taken,
            offered => match random.random_range(0..offered) {
                0 => self.first = taken,
                1 => self.second = taken,
                _ => {}
            },
        }
    }

    fn better(&self) -> Option<usize> {
        match (self.first, self.second) {
            (Some((_, a)), Some((second, b))) if b < a => Some(second),
            (first, _) => first.map(|(at, _)| at),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    const CALLS: usize = 10_000;

    const IN: Use = Use::Share(1.0);

    /// How often each of some plugs is taken, out of [`CALLS`]; the last number counts refusals.
    fn taken(plugs: &[(usize, f64, Use)]) -> Vec<usize> {
        let mut random = StdRng::seed_from_u64(4);
        let mut counts = vec![0; plugs.len() + 1];
        for _ in 0..CALLS {
            let candidates = plugs.iter().enumerate().map(|(at, plug)| {
                let (in_flight, recent, usable) = *plug;
                Candidate { at, in_flight, recent, usable }
            });
            match choose(candidates, plugs.len(), &mut random).expect("there are candidates") {
                Ok(at) => counts[at] += 1,
                Err(_) => counts[plugs.len()] += 1,
            }
        }
        counts
    }

    fn out(certain: bool) -> Use {
        Use::Out { until: Instant::now() + Duration::from_secs(9), certain }
    }

    #[test]
    fn nobody_to_choose_from() {
        assert_eq!(choose(std::iter::empty(), 3, &mut rand::rng()), None);
    }

    #[test]
    fn equals_share_and_the_better_of_two_is_taken() {
        for count in [2, 3, 7] {
            let counts = taken(&vec![(5, 0.0, IN); count]);
            let even = CALLS / count;
            assert!(counts[..count].iter().all(|n| n.abs_diff(even) < even / 5), "{counts:?}");
        }
        for (what, plugs, least) in [
            ("less busy", [(9, 0.0, IN), (8, 0.0, IN)], CALLS),
            ("fails less", [(0, 0.2, IN), (2, 0.0, IN)], CALLS),
            ("fails, but the other drowns", [(90, 0.0, IN), (1, 1.0, IN)], CALLS),
            ("on its return", [(0, 0.0, Use::Share(0.1)), (4, 0.0, IN)], CALLS * 85 / 100),
            ("on trial", [(0, 0.0, Use::OnTrial), (400, 1.0, IN)], CALLS),
            ("is out", [(0, 0.0, out(true)), (400, 1.0, IN)], CALLS),
            ("is out, it seems", [(0, 0.0, out(false)), (400, 1.0, IN)], CALLS),
            ("waits for its trial", [(0, 0.0, Use::Trial), (4, 0.0, IN)], CALLS * 85 / 100),
        ] {
            let counts = taken(&plugs);
            assert!(counts[1] >= least, "{what}: {counts:?}");
            assert!(least == CALLS || counts[0] > 0, "{what}: it gets some: {counts:?}");
        }
    }

    #[test]
    fn of_many_the_worst_is_taken_only_beside_its_like() {
        let mut plugs = vec![(3, 0.0, IN); 4];
        plugs[2].0 = 50;
        assert_eq!(taken(&plugs)[2], 0);
    }

    #[test]
    fn at_most_half_are_out() {
        // Four of six are: two of them stay in the draw, at their cost.
        let mut plugs = vec![(0, 0.9, out(true)); 4];
        plugs.extend([(0, 0.0, IN); 2]);
        let counts = taken(&plugs);
        assert!(counts[0] + counts[1] + counts[2] == 0 && counts[6] == 0, "{counts:?}");
        assert_eq!(counts[3], 0, "the others can take them: {counts:?}");
        // And where they cannot, it takes some.
        plugs[4].0 = 99;
        plugs[5].0 = 99;
        assert!(taken(&plugs)[3] > CALLS / 2);
    }

    #[test]
    fn where_all_fail_none_is_taken_but_the_one_on_trial() {
        let soon = Instant::now() + Duration::from_secs(1);
        let late = soon + Duration::from_secs(1);
        let of = |uses: &[Use]| {
            let candidates: Vec<_> = uses
                .iter()
                .enumerate()
                .map(|(at, usable)| Candidate { at, in_flight: 0, recent: 1.0, usable: *usable })
                .collect();
            choose(candidates.into_iter(), uses.len(), &mut rand::rng()).expect("there are candidates")
        };
        let certain = |until| Use::Out { until, certain: true };
        let doubtful = Use::Out { until: soon, certain: false };
        for (what, uses, expected) in [
            ("one", vec![certain(soon)], Err(Shut { until: Some(soon) })),
            ("several", vec![certain(late), certain(soon)], Err(Shut { until: Some(soon) })),
            ("one is tried", vec![certain(late), Use::OnTrial], Err(Shut { until: None })),
            ("the only one is tried", vec![Use::OnTrial], Err(Shut { until: None })),
            ("one may be tried", vec![certain(late), Use::Trial], Ok(1)),
            ("one only seems to fail", vec![certain(late), doubtful], Ok(1)),
            ("one only seems to fail, the first", vec![doubtful, certain(late)], Ok(0)),
            ("the only one seems to fail", vec![doubtful], Ok(0)),
            ("one comes back", vec![certain(late), Use::Share(0.1)], Ok(1)),
        ] {
            assert_eq!(of(&uses), expected, "{what}");
        }
    }

    proptest! {
        /// What is taken is a candidate that may be; where any may be taken without doubt, one is.
        #[test]
        fn a_choice_is_one_of_the_candidates(
            kinds in prop::collection::vec((0u8..6, 0usize..50, 0.0f64..1.0), 1..12),
            seed in any::<u64>(),
        ) {
            let until = Instant::now();
            let uses: Vec<Use> = kinds.iter().map(|(kind, _, share)| match kind {
                0 => IN,
                1 => Use::Share(share.max(0.1)),
                2 => Use::Trial,
                3 => Use::OnTrial,
                4 => Use::Out { until, certain: true },
                _ => Use::Out { until, certain: false },
            }).collect();
            let candidates = kinds.iter().zip(&uses).enumerate().map(|(at, ((_, in_flight, recent), usable))| {
                Candidate { at, in_flight: *in_flight, recent: *recent, usable: *usable }
            });
            let chosen = choose(candidates, uses.len(), &mut StdRng::seed_from_u64(seed)).expect("some");
            let sure = uses.iter().any(|usable| matches!(usable, Use::Share(_) | Use::Trial));
            let doubt = uses.iter().any(|usable| matches!(usable, Use::Out { certain: false, .. }));
            prop_assert_eq!(chosen.is_ok(), sure || doubt);
            if let Ok(at) = chosen {
                prop_assert!(uses[at] != Use::OnTrial);
            }
        }
    }
}
