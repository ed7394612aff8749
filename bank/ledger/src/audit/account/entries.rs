//! What an account's rows say of entries: decided here, or of another home.

use std::collections::BTreeMap;

use super::{Auditor, FindingKind, decode};
use crate::audit::tally::{At, Fact, Marked};
use crate::rows::{self, Decision, EntryRow, MarkerRow, PostingRow};
use crate::types::{EntryId, RESERVED_ADDRESS, day_of};

impl Auditor {
    pub(super) fn marker(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let marker: MarkerRow = decode(key, value)?;
        let (id, home) = rows::marker_of(key).ok_or("a marker key without an id and a home")?;
        self.marked(id, home, &marker);
        Ok(())
    }

    pub(super) fn reservation(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let marker: MarkerRow = decode(key, value)?;
        let (id, home, _) = rows::reservation_of(key)
            .ok_or("a reservation key without an id, a home and a digest")?;
        if !(marker.reserved || marker.released || marker.diverted) {
            // What was reserved counts from the entry's value day once it is applied.
            let reserved_day = day_of(marker.reserved_us);
            for posting in &marker.reserved_postings {
                self.expect_shift(posting, reserved_day, marker.value_day);
                let other_side = PostingRow {
                    address: self.reserved_address(posting.address)?,
                    amount_minor: -posting.amount_minor,
                    ..PostingRow::default()
                };
                self.expect_shift(&other_side, reserved_day, marker.value_day);
            }
        }
        self.marked(id, home, &marker);
        Ok(())
    }

    /// Where what was taken from an address waits.
    fn reserved_address(&self, address: u32) -> Result<u32, String> {
        let currency = self.address(address as usize).map(|row| &row.currency);
        let addresses = self.head.iter().flat_map(|head| &head.addresses);
        let mut numbered = (0..).zip(addresses);
        numbered
            .find(|(_, row)| row.address == RESERVED_ADDRESS && Some(&row.currency) == currency)
            .map(|(index, _)| index)
            .ok_or_else(|| format!("a reservation on address {address}, and none to wait at"))
    }

    fn marked(&mut self, id: EntryId, home: &str, marker: &MarkerRow) {
        self.newest = self.newest.max(Some(id));
        let account = self.audit.account.clone();
        let mut said = |how, booked_us| {
            if booked_us <= self.cutoff_us {
                self.audit.tally.said(
                    id,
                    &Fact::Marked {
                        home,
                        account: &account,
                        how,
                        booked_us,
                    },
                );
            }
        };
        if marker.reserved_us != 0 {
            said(Marked::Reserved, marker.reserved_us);
        }
        if marker.diverted {
            said(Marked::Diverted, marker.booked_us);
        } else if marker.released {
            said(Marked::Released, marker.booked_us);
        } else if !marker.reserved {
            said(Marked::Applied, marker.booked_us);
        }
    }

    pub(super) fn diverted(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let marker: MarkerRow = decode(key, value)?;
        let (id, home) = rows::diverted_of(key).ok_or("a key without an id and a home")?;
        let fact = Fact::Marked {
            home,
            account: &self.audit.account,
            how: Marked::TakenIn,
            booked_us: marker.booked_us,
        };
        self.audit.tally.said(id, &fact);
        Ok(())
    }

    pub(super) fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let row: EntryRow = decode(key, value)?;
        let id = key
            .get(1..)
            .and_then(EntryId::from_slice)
            .ok_or("an entry key without an id")?;
        self.newest = self.newest.max(Some(id));
        if row.decision.as_known() != Some(Decision::Accepted) {
            if !self.refused.remove(&id) && !self.moving {
                let message = format!("entry {id} was refused, and the journal does not tell it");
                self.find(FindingKind::EntryWrong, key, message);
            }
            return Ok(());
        }
        self.audit.entries += 1;
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        for leg in &row.legs {
            *sums.entry(&leg.currency).or_default() += i128::from(leg.amount_minor);
        }
        let unbalanced = sums
            .iter()
            .find(|(_, sum)| **sum != 0)
            .map(|(currency, sum)| format!("{sum} {currency}"));
        if let Some(sum) = unbalanced {
            self.find(
                FindingKind::EntryUnbalanced,
                key,
                format!("the legs of entry {id} sum to {sum} (minor units)"),
            );
        }
        let home = self.audit.account.as_str();
        let tally = &mut self.audit.tally;
        // Links are compared whenever the entries were decided: they are one commit.
        if let Some(reversed) = EntryId::from_slice(&row.reverses)
            && row.booked_us <= self.cutoff_us
        {
            tally.said(reversed, &Fact::Reversed { home, by: id });
        }
        if let Some(by) = EntryId::from_slice(&row.reversed_by) {
            tally.done(id, &Fact::Reversed { home, by });
        }
        if row.booked_us > self.cutoff_us {
            return Ok(());
        }
        for leg in &row.legs {
            let at = At {
                home,
                account: &leg.account,
                address: &leg.address,
                currency: &leg.currency,
            };
            tally.add(id, &at, leg.amount_minor);
        }
        tally.said(
            id,
            &Fact::Decided {
                home,
                booked_us: row.booked_us,
                value_day: row.value_day,
            },
        );
        if row.hold_id == id.0 {
            tally.said(
                id,
                &Fact::Held {
                    home,
                    booked_us: row.booked_us,
                },
            );
        }
        Ok(())
    }
}
