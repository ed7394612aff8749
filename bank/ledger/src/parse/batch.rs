//! A batch of entries, cut into linked chains.

use lombard_contracts::bank::ledger::v1::__buffa::view::EntryView;

use super::{Bounds, entry};
use crate::limits::{ENTRIES_PER_BATCH_MAX, ENTRIES_PER_CHAIN_MAX};
use crate::refusal::Refusal;
use crate::types::Entry;

/// A batch that is read chain by chain, as it is worked on: thousands of parsed entries
/// would leave the processor's caches before the last one is there.
#[derive(Debug)]
pub struct Batch<'v, 'a> {
    views: &'v [EntryView<'a>],
    bounds: Bounds,
    /// The place of the next entry in the request.
    place: usize,
    /// Of the last chain that was read.
    entries: Vec<Entry>,
}

/// Entries that are all in or none: one, or a linked chain.
#[derive(Debug)]
pub enum Chain<'b> {
    /// It can be tried.
    Entries(&'b [Entry]),
    /// It is wrong in itself: a refusal for each of its entries.
    Refused(Vec<Refusal>),
}

impl<'v, 'a> Batch<'v, 'a> {
    /// The batch of these entries.
    ///
    /// # Errors
    /// `TOO_MANY_ENTRIES`, `NO_ENTRIES`: the call as a whole.
    pub fn new(views: &'v [EntryView<'a>], bounds: Bounds) -> Result<Self, Refusal> {
        if views.is_empty() {
            return Err(Refusal::invalid(
                "NO_ENTRIES",
                "a batch has at least one entry",
            ));
        }
        if views.len() > ENTRIES_PER_BATCH_MAX {
            return Err(Refusal::invalid(
                "TOO_MANY_ENTRIES",
                format!(
                    "a batch has up to {ENTRIES_PER_BATCH_MAX} entries, not {}; send several",
                    views.len()
                ),
            ));
        }
        Ok(Self {
            views,
            bounds,
            place: 0,
            entries: Vec::new(),
        })
    }

    /// Reads the next chain. An entry that is wrong in itself is refused with its chain,
    /// and nothing else is.
    pub fn next_chain(&mut self) -> Option<Chain<'_>> {
        let rest = self.views.get(self.place..)?;
        // A chain ends with the first entry that is not linked to the next.
        let linked = rest.iter().take_while(|view| view.linked).count();
        let (chain, open) = match rest.get(..=linked) {
            Some(chain) => (chain, false),
            None if rest.is_empty() => return None,
            None => (rest, true),
        };
        self.place += chain.len();
        self.entries.clear();
        Some(match read(chain, open, &self.bounds, &mut self.entries) {
            Ok(()) => Chain::Entries(&self.entries),
            Err((failed, refusal)) => {
                let one = |at| {
                    if at == failed {
                        refusal.clone()
                    } else {
                        Refusal::Linked { failed }
                    }
                };
                Chain::Refused((0..chain.len()).map(one).collect())
            }
        })
    }
}

fn read(
    views: &[EntryView<'_>],
    open: bool,
    bounds: &Bounds,
    entries: &mut Vec<Entry>,
) -> Result<(), (usize, Refusal)> {
    if open {
        let last = views.len() - 1;
        return Err((
            last,
            Refusal::invalid(
                "LINKED_CHAIN_OPEN",
                "the last entry of the batch is linked to a next one: there is none",
            ),
        ));
    }
    if views.len() > ENTRIES_PER_CHAIN_MAX {
        return Err((
            ENTRIES_PER_CHAIN_MAX,
            Refusal::invalid(
                "LINKED_CHAIN_TOO_LONG",
                format!(
                    "a linked chain has up to {ENTRIES_PER_CHAIN_MAX} entries, not {}",
                    views.len()
                ),
            ),
        ));
    }
    for (at, view) in views.iter().enumerate() {
        let parsed = entry(view, bounds).map_err(|refusal| (at, refusal))?;
        if let Some(head) = entries.first()
            && head.home != parsed.home
        {
            let message = format!(
                "a linked chain is one commit at one home: this entry's is {} (the account of its first negative leg), the first one's is {}",
                parsed.home, head.home
            );
            return Err((at, Refusal::invalid("LINKED_HOMES_DIFFER", message)));
        }
        entries.push(parsed);
    }
    Ok(())
}
