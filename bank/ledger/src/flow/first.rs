//! What was answered first: an entry that was decided before gets that answer again.

use lombard_store::StoreError;

use super::seen::Seen;
use super::{Answers, Flow};
use crate::book::Book;
use crate::decide;
use crate::refusal::Refusal;
use crate::types::Entry;

impl Flow {
    /// The answer where something was refused now: what home decided earlier, if it did.
    pub(super) async fn first_answers(
        &self,
        chain: &[Entry],
        (failed, refusal): (usize, Refusal),
        now_us: i64,
        seen: &mut Seen,
    ) -> Result<Answers, StoreError> {
        let mut answers = Vec::with_capacity(chain.len());
        for entry in chain {
            let earlier = self.look(&entry.home, seen, |rows| {
                let Some(book) = Book::load(rows)? else {
                    return Ok(None);
                };
                match decide::load_entry(rows, entry.id)? {
                    Some(row) => {
                        decide::replay(rows, &book, entry.id, &row, Some(&entry.digest())).map(Some)
                    }
                    None => Ok(None),
                }
            });
            match earlier.await? {
                Ok(Some(decided)) => {
                    answers.push(Ok(self.carry(entry, decided, now_us, false, seen).await?));
                }
                Ok(None) => break,
                // A chain is refused as one, and tells which of it was refused and why.
                Err(refusal) if chain.len() == 1 => {
                    return Ok(vec![Err(refusal)]);
                }
                Err(_) => break,
            }
        }
        if answers.len() < chain.len() {
            let one = |index| {
                Err(if index == failed {
                    refusal.clone()
                } else {
                    Refusal::Linked { failed }
                })
            };
            answers = (0..chain.len()).map(one).collect();
        }
        Ok(answers)
    }
}
