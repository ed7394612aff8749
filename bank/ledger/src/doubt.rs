//! Ids of which an account does not know by itself whether it has seen them: all of a
//! commit's are looked up in one go, and before the account is taken to be changed. Looked up
//! one by one, where rows must be fetched, each would cost a read, and the account as it was
//! kept, with what it knows of ids, would be lost with each.

use bytes::Bytes;
use lombard_store::{Fault, Rows, Wanted};

use crate::apply::Carried;
use crate::book::Book;
use crate::rows;
use crate::types::EntryId;

/// Has the rows of entries at hand that were perhaps decided here before.
///
/// # Errors
/// A fault of the store: they have to be fetched, or a row is damaged.
pub fn entries(rows: &mut Rows<'_>, ids: impl IntoIterator<Item = EntryId>) -> Result<(), Fault> {
    look_up(rows, |book| {
        let uncertain = ids.into_iter().filter(|id| !book.surely_new(*id));
        uncertain.map(|id| row(rows::entry_key(id))).collect()
    })
}

/// The same, of entries of other homes whose legs were perhaps applied here before.
///
/// # Errors
/// As [`entries`].
pub fn legs<'c>(
    rows: &mut Rows<'_>,
    all: impl IntoIterator<Item = &'c Carried<'c>>,
) -> Result<(), Fault> {
    look_up(rows, |book| {
        let uncertain = (all.into_iter()).filter(|carried| !book.surely_new(carried.id));
        let keys = uncertain.flat_map(|carried| {
            let (id, home) = (carried.id, carried.home);
            let reserved = rows::reservation_key(id, home, &carried.digest);
            [row(rows::marker_key(id, home)), row(reserved)]
        });
        keys.collect()
    })
}

fn row(key: impl AsRef<[u8]>) -> Wanted {
    Wanted::Row(Bytes::copy_from_slice(key.as_ref()))
}

fn look_up(rows: &mut Rows<'_>, wanted: impl FnOnce(&Book) -> Vec<Wanted>) -> Result<(), Fault> {
    let Some(book) = Book::take(rows)? else {
        return Ok(());
    };
    let wanted = wanted(&book);
    book.put_back(rows);
    if wanted.is_empty() {
        return Ok(());
    }
    rows.prefetch(&wanted)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use lombard_store::{Row, RowRange, RowSource, Version};

    use super::*;
    use crate::rows::Head;

    /// Of which nothing is at hand.
    #[derive(Default)]
    struct Far(RefCell<Vec<Vec<Wanted>>>);

    impl RowSource for Far {
        fn version(&self) -> Version {
            Version(7)
        }

        fn get(&self, _: &[u8]) -> Result<Option<Bytes>, Fault> {
            Err(Fault::NotLoaded)
        }

        fn range(&self, _: &RowRange) -> Result<Vec<Row>, Fault> {
            Err(Fault::NotLoaded)
        }

        fn prefetch(&self, wanted: &[Wanted]) -> Result<(), Fault> {
            self.0.borrow_mut().push(wanted.to_vec());
            Err(Fault::NotLoaded)
        }
    }

    #[test]
    fn what_is_in_doubt_is_asked_for_together_and_the_account_stays_at_hand() {
        let id = |number: u8| EntryId([number; 16]);
        let mut book = Book::open(Head::default());
        book.saw(id(1));
        book.saw(id(2));
        let far = Far::default();
        let mut rows = Rows::with_kept(&far, Some(book));
        entries(&mut rows, [id(3), id(4)]).unwrap();
        assert!(far.0.borrow().is_empty(), "both are new for certain");
        let asked = entries(&mut rows, [id(2), id(3), id(1)]);
        assert!(matches!(asked, Err(Fault::NotLoaded)));
        let both = [id(2), id(1)].map(|id| row(rows::entry_key(id)));
        assert_eq!(far.0.take(), [both]);
        assert!(rows.kept::<Book>().is_some());

        let carried = Carried {
            id: id(1),
            digest: [9; 16],
            home: "home",
            decided_us: 0,
            value_day: 0,
            reference: "",
            actor: "",
            legs: &[],
            now_us: 0,
        };
        let asked = legs(&mut rows, [&carried]);
        assert!(matches!(asked, Err(Fault::NotLoaded)));
        let reserved = rows::reservation_key(id(1), "home", &[9; 16]);
        let either = vec![row(rows::marker_key(id(1), "home")), row(reserved)];
        assert_eq!(far.0.take(), [either]);
        assert!(rows.kept::<Book>().is_some());
    }
}
