//! The record of a move: on both clusters, beside the keyspace's migrations, so that a process
//! that is configured otherwise is told so when it opens the keyspace.
//!
//! ```text
//! moves  (keyspace_name, what) → value: "move" → see [`Record`]; how far each sweep came
//! ```

use lombard_store::StoreError;

use crate::cluster::Cluster;
use crate::fault;
use crate::keyspace::Keyspace;
use crate::schema;

/// The table's name. Only keyspaces that move, or moved, have it.
pub(crate) const TABLE: &str = "moves";
/// The row of the record itself.
const MOVE: &str = "move";

/// What is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Record {
    /// Partitions may be on either of these clusters.
    Moving([String; 2]),
    /// All are on the first of these, and the second can be left.
    Settled([String; 2]),
}

impl Record {
    fn to_text(&self) -> String {
        let (word, [one, other]) = match self {
            Self::Moving(between) => ("moving", between),
            Self::Settled(between) => ("settled", between),
        };
        [word, one, other].join("\n")
    }

    fn of_text(text: &str) -> Result<Self, StoreError> {
        let mut lines = text.lines().map(str::to_owned);
        match (lines.next().as_deref(), lines.next(), lines.next()) {
            (Some("moving"), Some(one), Some(other)) => Ok(Self::Moving([one, other])),
            (Some("settled"), Some(one), Some(other)) => Ok(Self::Settled([one, other])),
            _ => misconfigured(format!(
                "the record of a move is {text:?}, of no known form"
            )),
        }
    }
}

/// Whether a keyspace may be used on one cluster alone, given what is on record there.
fn alone(record: Option<&Record>, cluster: &str, service: &str) -> Result<(), StoreError> {
    match record {
        None => Ok(()),
        Some(Record::Settled([at, _])) if at == cluster => Ok(()),
        Some(Record::Settled([at, _])) => misconfigured(format!(
            "{service} has moved from cluster {cluster:?} to {at:?}: configure \
             cassandra.services.{service} = {at:?}"
        )),
        Some(Record::Moving([one, other])) => {
            let to = if one == cluster { other } else { one };
            misconfigured(format!(
                "{service} is moving between the clusters {one:?} and {other:?}, and some of it \
                 may be on the other one: configure cassandra.moves.{service}.to = {to:?}"
            ))
        }
    }
}

/// Whether a keyspace may be used on two clusters, given what is on record on both.
fn together(
    records: [Option<&Record>; 2],
    from: &str,
    to: &str,
    service: &str,
) -> Result<(), StoreError> {
    for record in records.into_iter().flatten() {
        let (Record::Moving(between) | Record::Settled(between)) = record;
        let is_ours = between.iter().all(|name| name == from || name == to);
        match record {
            Record::Moving(_) if is_ours => {}
            Record::Settled([at, _]) if at == from => {}
            Record::Settled([at, _]) if at == to => {
                return misconfigured(format!(
                    "{service} has moved to cluster {to:?}, and that is finished: configure \
                     cassandra.services.{service} = {to:?}, and no move; or, for it to move back, \
                     cassandra.moves.{service}.to = {from:?}"
                ));
            }
            Record::Moving([one, other]) | Record::Settled([one, other]) => {
                return misconfigured(format!(
                    "{service} is on record as moving between the clusters {one:?} and {other:?}, \
                     and configured to move from {from:?} to {to:?}: finish the one before the \
                     other"
                ));
            }
        }
    }
    Ok(())
}

/// Refuses a keyspace that is opened on one cluster only, if it is not all there.
///
/// # Errors
/// [`StoreError::Misconfigured`] says what to configure.
pub(crate) async fn refuse_alone(
    cluster: &Cluster,
    keyspace: &str,
    service: &str,
) -> Result<(), StoreError> {
    let record = recorded(cluster, keyspace).await?;
    alone(record.as_ref(), &cluster.name, service)
}

/// Puts on record, on both clusters, that partitions may be on either.
///
/// # Errors
/// [`StoreError::Misconfigured`]: the record says otherwise.
pub(super) async fn begin(from: &Keyspace, to: &Keyspace, holder: &str) -> Result<(), StoreError> {
    for keyspace in [from, to] {
        make(keyspace, holder).await?;
    }
    let records = [
        recorded(&from.cluster, &from.name).await?,
        recorded(&to.cluster, &to.name).await?,
    ];
    let (a, b) = (&from.cluster.name, &to.cluster.name);
    together(
        [records[0].as_ref(), records[1].as_ref()],
        a,
        b,
        &from.service,
    )?;
    let mut names = [a.clone(), b.clone()];
    names.sort_unstable();
    let moving = Record::Moving(names);
    for (keyspace, record) in [from, to].into_iter().zip(records) {
        if record.as_ref() != Some(&moving) {
            set(&keyspace.cluster, &keyspace.name, MOVE, &moving.to_text()).await?;
        }
    }
    Ok(())
}

/// Puts on record that everything is on one cluster: first on the one that is left, so that
/// nobody works with both of them from then on.
pub(super) async fn settle(at: &Keyspace, left: &Keyspace) -> Result<(), StoreError> {
    let names = [at.cluster.name.clone(), left.cluster.name.clone()];
    let text = Record::Settled(names).to_text();
    for keyspace in [left, at] {
        set(&keyspace.cluster, &keyspace.name, MOVE, &text).await?;
    }
    Ok(())
}

/// Followers look for events from the time on at which a keyspace was made: of two, the older.
pub(super) async fn share_age(from: &mut Keyspace, to: &mut Keyspace) -> Result<(), StoreError> {
    let oldest = from.created_us.min(to.created_us);
    for keyspace in [from, to] {
        if keyspace.created_us == oldest {
            continue;
        }
        let ks = &keyspace.name;
        let text = format!(
            "UPDATE {ks}.schema_migrations SET applied_at = ? WHERE keyspace_name = ? AND id = 1"
        );
        let statement = keyspace.cluster.prepare_read(&text).await?;
        let at = crate::commit::signed(oldest);
        let written = keyspace.cluster.execute(&statement, (at, ks)).await;
        written.map_err(|error| fault::of_read("writing a keyspace's age", &error))?;
        keyspace.created_us = oldest;
    }
    Ok(())
}

async fn make(keyspace: &Keyspace, holder: &str) -> Result<(), StoreError> {
    let what = "looking for the record of a move";
    let (cluster, name) = (&keyspace.cluster, keyspace.name.as_str());
    let select = "SELECT table_name FROM system_schema.tables \
                  WHERE keyspace_name = ? AND table_name = ?";
    let select = cluster.prepare_read(select).await?;
    let found = cluster.execute(&select, (name, TABLE)).await;
    let found = found.map_err(|error| fault::of_read(what, &error))?;
    let found = found
        .into_rows_result()
        .map_err(|error| fault::of_answer(what, &error))?;
    if found.rows_num() > 0 {
        return Ok(());
    }
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {name}.{TABLE} (keyspace_name text, what text, value text, \
         PRIMARY KEY (keyspace_name, what)) WITH speculative_retry = 'MIN(99p,50ms)'"
    );
    let make = schema::make_table(cluster, &create);
    schema::locked(cluster, name, holder, make).await
}

async fn recorded(cluster: &Cluster, keyspace: &str) -> Result<Option<Record>, StoreError> {
    let text = value(cluster, keyspace, MOVE).await?;
    text.map(|text| Record::of_text(&text)).transpose()
}

/// A line of the record.
///
/// # Errors
/// Nobody answers.
pub(super) async fn value(
    cluster: &Cluster,
    keyspace: &str,
    what: &str,
) -> Result<Option<String>, StoreError> {
    let reading = "reading the record of a move";
    let select =
        format!("SELECT value FROM {keyspace}.{TABLE} WHERE keyspace_name = ? AND what = ?");
    let select = cluster.prepare_read(&select).await?;
    let found = cluster.execute(&select, (keyspace, what)).await;
    let found = found.map_err(|error| fault::of_read(reading, &error))?;
    let rows = found
        .into_rows_result()
        .map_err(|error| fault::of_answer(reading, &error))?;
    let row = rows
        .maybe_first_row::<(Option<String>,)>()
        .map_err(|error| fault::of_answer(reading, &error))?;
    Ok(row.and_then(|(value,)| value))
}

/// Writes a line of the record.
///
/// # Errors
/// Nobody answers.
pub(super) async fn set(
    cluster: &Cluster,
    keyspace: &str,
    what: &str,
    value: &str,
) -> Result<(), StoreError> {
    let insert =
        format!("INSERT INTO {keyspace}.{TABLE} (keyspace_name, what, value) VALUES (?, ?, ?)");
    let insert = cluster.prepare_read(&insert).await?;
    let written = cluster.execute(&insert, (keyspace, what, value)).await;
    written.map_err(|error| fault::of_read("writing the record of a move", &error))?;
    Ok(())
}

fn misconfigured<T>(why: String) -> Result<T, StoreError> {
    Err(StoreError::Misconfigured(format!("cassandra: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(one: &str, other: &str) -> [String; 2] {
        [one.to_owned(), other.to_owned()]
    }

    #[test]
    fn a_record_comes_back() {
        for record in [
            Record::Moving(names("a", "b")),
            Record::Settled(names("b b", "a")),
        ] {
            assert_eq!(Record::of_text(&record.to_text()).unwrap(), record);
        }
        assert!(Record::of_text("lost\na\nb").is_err());
    }

    #[test]
    fn who_is_configured_otherwise_is_told_what_to_configure() {
        let moving = Record::Moving(names("a", "b"));
        let settled = Record::Settled(names("b", "a"));
        let why = |result: Result<(), StoreError>| result.unwrap_err().to_string();
        assert!(alone(None, "a", "card").is_ok());
        assert!(alone(Some(&settled), "b", "card").is_ok());
        let told = why(alone(Some(&moving), "a", "card"));
        assert!(told.contains("cassandra.moves.card.to = \"b\""), "{told}");
        let told = why(alone(Some(&settled), "a", "card"));
        assert!(told.contains("cassandra.services.card = \"b\""), "{told}");

        let both =
            |record: &Record, from, to| together([Some(record), Some(record)], from, to, "card");
        assert!(both(&moving, "a", "b").is_ok());
        assert!(both(&moving, "b", "a").is_ok(), "exchanged");
        assert!(both(&settled, "b", "a").is_ok(), "back again");
        assert!(why(both(&settled, "a", "b")).contains("is finished"));
        assert!(why(both(&moving, "a", "c")).contains("finish the one"));
    }
}
