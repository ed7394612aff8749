//! A batch of entries, cut into linked chains.

use lombard_contracts::bank::ledger::v1::__buffa::view::EntryView;

use super::{Bounds, entry};
use crate::limits::{ENTRIES_PER_BATCH_MAX, ENTRIES_PER_CHAIN_MAX};
use crate::refusal::Refusal;
use crate::types::Entry;

/// A parsed batch: what can be tried, and what is refused already.
#[derive(Debug, Default)]
pub struct Batch {
    /// The entries that can be tried, in order.
    pub entries: Vec<Entry>,
    /// How they go together, in order.
    pub chains: Vec<Chain>,
    /// Refusals by place in the request, in order.
    pub refused: Vec<(usize, Refusal)>,
}

/// Entries that are all in or none: one, or a linked chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The place of the first in the request.
    pub place: usize,
    /// The place of the first in [`Batch::entries`].
    pub first: usize,
    /// How many.
    pub len: usize,
}

/// Reads a batch. An entry that is wrong in itself is refused with its chain, and nothing else is.
///
/// # Errors
/// `TOO_MANY_ENTRIES`, `NO_ENTRIES`: the call as a whole.
pub fn batch(views: &[EntryView<'_>], bounds: &Bounds) -> Result<Batch, Refusal> {
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
    let mut batch = Batch {
        entries: Vec::with_capacity(views.len()),
        chains: Vec::with_capacity(views.len()),
        refused: Vec::new(),
    };
    let mut place = 0;
    while place < views.len() {
        // A chain ends with the first entry that is not linked to the next.
        let linked = views[place..].iter().take_while(|view| view.linked).count();
        let open = place + linked == views.len();
        let len = if open { linked } else { linked + 1 };
        let first = batch.entries.len();
        match chain(&views[place..place + len], open, bounds, &mut batch.entries) {
            Ok(()) => batch.chains.push(Chain { place, first, len }),
            Err((failed, refusal)) => {
                batch.entries.truncate(first);
                let others = |at: usize| {
                    if at == failed {
                        refusal.clone()
                    } else {
                        Refusal::Linked { failed }
                    }
                };
                batch
                    .refused
                    .extend((0..len).map(|at| (place + at, others(at))));
            }
        }
        place += len;
    }
    Ok(batch)
}

fn chain(
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
    let first = entries.len();
    for (at, view) in views.iter().enumerate() {
        let parsed = entry(view, bounds).map_err(|refusal| (at, refusal))?;
        if let Some(head) = entries.get(first)
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
