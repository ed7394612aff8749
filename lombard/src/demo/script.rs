//! What happens in the demonstration: drawn from random numbers, pure.

use super::cast::{Company, EMPLOYERS, Person, SHOPS};

/// What somebody does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scene {
    /// An employer pays a salary.
    Salary {
        /// Who pays.
        from: Company,
        /// Index of the person.
        to: usize,
        /// Pence.
        amount_minor: i64,
    },
    /// A person pays another.
    Payment {
        /// Index of the person.
        from: usize,
        /// Index of another person.
        to: usize,
        /// Pence.
        amount_minor: i64,
        /// What the statement says.
        reference: &'static str,
    },
    /// A card is used: authorised now, captured or given up a little later.
    Card {
        /// Index of the person.
        person: usize,
        /// Where.
        shop: Company,
        /// What is authorised, in pence.
        amount_minor: i64,
        /// What is captured in the end; none: the shop gives it up.
        captured_minor: Option<i64>,
    },
}

const REFERENCES: [&str; 6] = [
    "Rent share",
    "Dinner",
    "Concert tickets",
    "Thanks!",
    "Gas bill",
    "Holiday",
];
/// Out of a hundred scenes: salaries bring in about what the others cost.
const SALARIES_PERCENT: u64 = 3;
const PAYMENTS_PERCENT: u64 = 37;
const SALARY_FROM_MINOR: i64 = 90_000;
const SALARY_TO_MINOR: i64 = 260_000;

/// The next scene among these people (at least two), drawn with `random`.
pub fn next(people: &[Person], random: &mut dyn FnMut() -> u64) -> Scene {
    let person = below(random, people.len());
    let kind = random() % 100;
    if kind < SALARIES_PERCENT {
        return Scene::Salary {
            // The same employer each time.
            from: EMPLOYERS[person % EMPLOYERS.len()],
            to: person,
            amount_minor: between(random, SALARY_FROM_MINOR, SALARY_TO_MINOR),
        };
    }
    if kind < SALARIES_PERCENT + PAYMENTS_PERCENT {
        let other = below(random, people.len().saturating_sub(1).max(1));
        return Scene::Payment {
            from: person,
            to: if other >= person {
                (other + 1) % people.len()
            } else {
                other
            },
            amount_minor: between(random, 200, 9_000),
            reference: REFERENCES[below(random, REFERENCES.len())],
        };
    }
    let shop = SHOPS[below(random, SHOPS.len())];
    let amount_minor = between(random, shop.from_minor, shop.to_minor);
    let given_up = random().is_multiple_of(20);
    let captured_minor = if shop.captures_less {
        between(random, amount_minor / 2, amount_minor)
    } else {
        amount_minor
    };
    Scene::Card {
        person,
        shop: shop.company,
        amount_minor,
        captured_minor: (!given_up).then_some(captured_minor),
    }
}

/// From 0 to below `count`, which is not 0.
fn below(random: &mut dyn FnMut() -> u64, count: usize) -> usize {
    (random() % count as u64) as usize
}

fn between(random: &mut dyn FnMut() -> u64, from: i64, to: i64) -> i64 {
    // The span is a few hundred thousand pence.
    from + (random() % (to - from + 1).unsigned_abs()) as i64
}

#[cfg(test)]
mod tests {
    use super::super::cast::people;
    use super::*;

    /// SplitMix64.
    fn numbers(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    #[test]
    fn scenes_make_sense() {
        let people = people(2);
        let mut random = numbers(7);
        let (mut earned, mut spent, mut given_up) = (0, 0, 0);
        for _ in 0..20_000 {
            match next(&people, &mut random) {
                Scene::Salary {
                    to, amount_minor, ..
                } => {
                    assert!(to < 2);
                    earned += amount_minor;
                }
                Scene::Payment {
                    from,
                    to,
                    amount_minor,
                    ..
                } => {
                    assert!(from < 2 && to < 2 && from != to && amount_minor > 0);
                }
                Scene::Card {
                    amount_minor,
                    captured_minor,
                    ..
                } => {
                    let captured = captured_minor.unwrap_or(0);
                    assert!(captured <= amount_minor && amount_minor > 0);
                    given_up += i32::from(captured_minor.is_none());
                    spent += captured;
                }
            }
        }
        assert!(given_up > 0);
        // Nobody gets ever richer or poorer: what comes in is about what goes out.
        assert!(
            earned > spent && earned < spent * 2,
            "earned {earned}, spent {spent}"
        );
    }
}
