//! Who takes part in the demonstration: always the same people, shops and employers.

/// A customer of the bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// `demo-customer-001`.
    pub customer_id: String,
    /// `demo-account-001`.
    pub account_id: String,
    /// First and last name.
    pub name: String,
    /// Of the form first.last@example.com (RFC 2606).
    pub email: String,
    /// ISO 8601.
    pub date_of_birth: String,
    /// In pence; some have none.
    pub overdraft_minor: i64,
}

const FIRST: [&str; 20] = [
    "Amara", "Ben", "Chloe", "Dev", "Elif", "Finn", "Grace", "Hamid", "Isla", "Jonas", "Kezia",
    "Liam", "Mei", "Noor", "Owen", "Priya", "Quentin", "Rosa", "Samuel", "Tara",
];
const LAST: [&str; 17] = [
    "Abbott", "Bianchi", "Clarke", "Demir", "Evans", "Fraser", "Gupta", "Hughes", "Iqbal", "Jones",
    "Khan", "Lewis", "Murphy", "Novak", "Okafor", "Patel", "Quinn",
];

/// The first `count` customers.
pub fn people(count: u32) -> Vec<Person> {
    (1..=count)
        .map(|number| {
            let place = number as usize - 1;
            // 20 and 17 share no factor: 340 different names.
            let (first, last) = (FIRST[place % FIRST.len()], LAST[place % LAST.len()]);
            Person {
                customer_id: format!("demo-customer-{number:03}"),
                account_id: format!("demo-account-{number:03}"),
                name: format!("{first} {last}"),
                email: format!(
                    "{}.{}.{number}@example.com",
                    first.to_lowercase(),
                    last.to_lowercase()
                ),
                date_of_birth: format!(
                    "{}-{:02}-{:02}",
                    1950 + place % 55,
                    1 + place % 12,
                    1 + place % 28
                ),
                overdraft_minor: if number % 3 == 0 { 50_000 } else { 0 },
            }
        })
        .collect()
}

/// A company in the world outside, as an account of the ledger without a floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Company {
    /// The ledger account.
    pub account_id: &'static str,
    /// What statements call it.
    pub name: &'static str,
}

/// Who pays salaries.
pub const EMPLOYERS: [Company; 3] = [
    Company {
        account_id: "demo-employer-foundry",
        name: "Severn Foundry Ltd",
    },
    Company {
        account_id: "demo-employer-council",
        name: "Borough Council",
    },
    Company {
        account_id: "demo-employer-studio",
        name: "Lantern Studio",
    },
];

/// A shop, what it takes at least and at most (pence).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shop {
    /// Its account.
    pub company: Company,
    /// The smallest usual sale.
    pub from_minor: i64,
    /// The largest usual sale.
    pub to_minor: i64,
    /// A pump or a hotel asks for more than it takes in the end.
    pub captures_less: bool,
}

/// Where cards are used.
pub const SHOPS: [Shop; 6] = [
    Shop {
        company: Company {
            account_id: "demo-shop-bakery",
            name: "Corner Bakery",
        },
        from_minor: 150,
        to_minor: 1_200,
        captures_less: false,
    },
    Shop {
        company: Company {
            account_id: "demo-shop-grocer",
            name: "Green Grocer",
        },
        from_minor: 800,
        to_minor: 9_000,
        captures_less: false,
    },
    Shop {
        company: Company {
            account_id: "demo-shop-fuel",
            name: "Ring Road Fuel",
        },
        from_minor: 4_000,
        to_minor: 9_900,
        captures_less: true,
    },
    Shop {
        company: Company {
            account_id: "demo-shop-books",
            name: "Harbour Books",
        },
        from_minor: 500,
        to_minor: 4_500,
        captures_less: false,
    },
    Shop {
        company: Company {
            account_id: "demo-shop-trains",
            name: "North Line Trains",
        },
        from_minor: 300,
        to_minor: 12_000,
        captures_less: false,
    },
    Shop {
        company: Company {
            account_id: "demo-shop-inn",
            name: "The Old Inn",
        },
        from_minor: 6_000,
        to_minor: 18_000,
        captures_less: true,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_is_somebody_else() {
        let people = people(340);
        let names: BTreeSet<&str> = people.iter().map(|person| person.name.as_str()).collect();
        let accounts: BTreeSet<&str> = people
            .iter()
            .map(|person| person.account_id.as_str())
            .collect();
        assert_eq!((names.len(), accounts.len()), (340, 340));
        for person in &people {
            assert!(
                person.date_of_birth.parse::<jiff::civil::Date>().is_ok(),
                "{person:?}"
            );
        }
    }

    #[test]
    fn a_shorter_cast_is_the_beginning_of_a_longer_one() {
        assert_eq!(people(5)[..], people(50)[..5]);
    }
}
