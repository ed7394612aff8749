//! The rules: pure functions over a customer's rows.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use lombard_store::{Rows, Stop};

use crate::error::Error;
use crate::options::Options;
use crate::parse::NewCustomer;
use crate::rows::{self, CustomerRow, EventRow};

/// When something is done, and in which trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Microseconds since the Unix epoch.
    pub now_us: i64,
    /// W3C trace id, 32 hexadecimal digits; or empty.
    pub trace: String,
}

/// Creates the customer, or finds the one that the same request created before: then the
/// second is true.
///
/// # Errors
/// [`Error::ExistsDifferent`], [`Error::TooYoung`], a date of birth in the future.
pub fn create(
    rows: &mut Rows<'_>,
    new: &NewCustomer,
    options: &Options,
    cause: &Cause,
) -> Result<(CustomerRow, bool), Stop<Error>> {
    let date_of_birth = new
        .date_of_birth
        .map(|date| date.to_string())
        .unwrap_or_default();
    if let Some(existing) = rows::load(rows)? {
        let differs = [
            ("name", existing.name != new.name),
            ("email", existing.email != new.email),
            ("date_of_birth", existing.date_of_birth != date_of_birth),
        ];
        return match differs.iter().find(|(_, differs)| *differs) {
            None => Ok((existing, true)),
            Some((field, _)) => Err(Stop::Refused(Error::ExistsDifferent {
                customer: new.id.clone(),
                field,
            })),
        };
    }
    if let Some(born) = new.date_of_birth {
        check_age(born, day_of(cause.now_us), options.age_years_min).map_err(Stop::Refused)?;
    }
    let customer = CustomerRow {
        name: new.name.clone(),
        email: new.email.clone(),
        date_of_birth,
        created_us: cause.now_us,
        ..CustomerRow::default()
    };
    let event = EventRow {
        r#type: "CustomerCreated".to_owned(),
        version: 1,
        occurred_us: cause.now_us,
        actor: new.actor.clone(),
        trace: cause.trace.clone(),
        ..EventRow::default()
    };
    Ok((rows::store(rows, customer, event), false))
}

/// The customer.
///
/// # Errors
/// [`Error::NotFound`].
pub fn get(rows: &Rows<'_>, id: &str) -> Result<CustomerRow, Stop<Error>> {
    rows::load(rows)?.ok_or_else(|| {
        Stop::Refused(Error::NotFound {
            customer: id.to_owned(),
        })
    })
}

fn check_age(born: Date, today: Date, age_years_min: u16) -> Result<(), Error> {
    if born > today {
        return Err(Error::invalid(
            "DATE_OF_BIRTH_INVALID",
            format!("the date of birth {born} lies in the future"),
        ));
    }
    let had_birthday = (today.month(), today.day()) >= (born.month(), born.day());
    let age_years = today.year() - born.year() - i16::from(!had_birthday);
    if i32::from(age_years) < i32::from(age_years_min) {
        return Err(Error::TooYoung { age_years_min });
    }
    Ok(())
}

/// The day of a moment, UTC. A clock beyond the calendar counts as the epoch.
fn day_of(now_us: i64) -> Date {
    let now = Timestamp::from_microsecond(now_us).unwrap_or(Timestamp::UNIX_EPOCH);
    now.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use buffa::Message;
    use bytes::Bytes;
    use lombard_store::{Change, Fault, Row, RowRange, RowSource, Version};

    use super::*;

    /// 2026-11-21T12:00:00Z.
    const NOW_US: i64 = 1_795_262_400_000_000;

    #[derive(Default)]
    struct Partition {
        rows: BTreeMap<Bytes, Bytes>,
        events: Vec<EventRow>,
    }

    impl RowSource for Partition {
        fn version(&self) -> Version {
            Version(self.events.len() as u64)
        }
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
            Ok(self.rows.get(key).cloned())
        }
        fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault> {
            let found = self.rows.iter().filter(|(key, _)| range.contains(key));
            Ok(found
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect())
        }
    }

    impl Partition {
        fn create(
            &mut self,
            new: &NewCustomer,
            options: &Options,
        ) -> Result<(CustomerRow, bool), Error> {
            let mut rows = Rows::new(self);
            let cause = Cause {
                now_us: NOW_US,
                trace: "t".to_owned(),
            };
            let answer = match create(&mut rows, new, options, &cause) {
                Ok(answer) => answer,
                Err(Stop::Refused(error)) => return Err(error),
                Err(Stop::Fault(fault)) => panic!("{fault}"),
            };
            for (key, change) in rows.into_changes().rows {
                match change {
                    Change::Event(value) => {
                        assert!(!self.rows.contains_key(&key), "an event is written once");
                        self.events
                            .push(EventRow::decode_from_slice(&value).unwrap());
                        self.rows.insert(key, value);
                    }
                    Change::Put(value) | Change::New(value) => {
                        self.rows.insert(key, value);
                    }
                    Change::Delete => {
                        self.rows.remove(&key);
                    }
                }
            }
            Ok(answer)
        }
    }

    fn ada() -> NewCustomer {
        NewCustomer {
            id: "ada".to_owned(),
            name: "Ada Lovelace".to_owned(),
            email: "ada@example.com".to_owned(),
            date_of_birth: Some(jiff::civil::date(1990, 12, 10)),
            actor: "web".to_owned(),
        }
    }

    #[test]
    fn a_customer_is_created_once_with_one_event() {
        let mut partition = Partition::default();
        let (created, replayed) = partition.create(&ada(), &Options::default()).unwrap();
        assert!(!replayed);
        assert_eq!((created.created_us, created.event_number), (NOW_US, 1));
        assert_eq!(created.date_of_birth, "1990-12-10");

        let again = partition.create(
            &NewCustomer {
                actor: "app".to_owned(),
                ..ada()
            },
            &Options::default(),
        );
        assert_eq!(again.unwrap(), (created.clone(), true));

        let [event] = partition.events.as_slice() else {
            panic!("{:?}", partition.events)
        };
        assert_eq!(
            (event.number, event.r#type.as_str(), event.actor.as_str()),
            (1, "CustomerCreated", "web")
        );
        assert_eq!(event.customer.as_option(), Some(&created));
        assert_eq!((event.trace.as_str(), event.occurred_us), ("t", NOW_US));
    }

    #[test]
    fn the_same_id_with_other_content_is_a_conflict() {
        let mut partition = Partition::default();
        partition.create(&ada(), &Options::default()).unwrap();
        for (other, differs) in [
            (
                NewCustomer {
                    name: "Ada King".to_owned(),
                    ..ada()
                },
                "name",
            ),
            (
                NewCustomer {
                    email: String::new(),
                    ..ada()
                },
                "email",
            ),
            (
                NewCustomer {
                    date_of_birth: None,
                    ..ada()
                },
                "date_of_birth",
            ),
        ] {
            match partition.create(&other, &Options::default()) {
                Err(Error::ExistsDifferent { customer, field }) => {
                    assert_eq!((customer.as_str(), field), ("ada", differs))
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(partition.events.len(), 1);
    }

    #[test]
    fn the_age_counts_on_the_birthday() {
        let options = Options { age_years_min: 16 };
        for (year, month, day, allowed) in [
            (2010, 11, 21, true),
            (2010, 11, 22, false),
            (2026, 11, 21, false),
            (1990, 1, 1, true),
        ] {
            let new = NewCustomer {
                date_of_birth: Some(jiff::civil::date(year, month, day)),
                ..ada()
            };
            let made = Partition::default().create(&new, &options);
            assert_eq!(made.is_ok(), allowed, "{made:?}");
        }
        let unborn = NewCustomer {
            date_of_birth: Some(jiff::civil::date(2026, 11, 22)),
            ..ada()
        };
        let refused = Partition::default().create(&unborn, &Options::default());
        assert!(matches!(
            refused,
            Err(Error::Invalid {
                reason: "DATE_OF_BIRTH_INVALID",
                ..
            })
        ));
    }

    #[test]
    fn nobody_is_not_found() {
        let partition = Partition::default();
        let found = get(&Rows::new(&partition), "ada");
        assert!(
            matches!(found, Err(Stop::Refused(Error::NotFound { customer })) if customer == "ada")
        );
    }
}
