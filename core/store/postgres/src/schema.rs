//! The tables of a keyspace, and how they come to be: numbered migrations, each in one
//! transaction with the line that records it.

use lombard_store::StoreError;
use tokio_postgres::Client;

use crate::failure;

/// The migrations, in order. One that has gone out into the world is never changed.
pub const MIGRATIONS: [(i32, &str, &str); 1] = [(1, "partitions and rows", PARTITIONS_AND_ROWS)];

/// `{schema}` is the keyspace's. A version is replaced with each commit, in place (the
/// indexes do not hold it), so its pages keep room. Values are bytes that do not
/// compress well, and are mostly short. The index of events grows at one end.
const PARTITIONS_AND_ROWS: &str = "
CREATE TABLE {schema}.partitions (
    id bigint GENERATED ALWAYS AS IDENTITY,
    key bytea NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    marker bytea,
    CONSTRAINT partitions_pkey PRIMARY KEY (key),
    CONSTRAINT partitions_id UNIQUE (id)
) WITH (fillfactor = 50);
CREATE TABLE {schema}.rows (
    partition bigint NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    event bigint,
    CONSTRAINT rows_pkey PRIMARY KEY (partition, key)
);
ALTER TABLE {schema}.rows ALTER COLUMN value SET STORAGE EXTERNAL;
CREATE INDEX rows_event ON {schema}.rows (event) WHERE event IS NOT NULL;
CREATE TABLE {schema}.positions (
    single boolean PRIMARY KEY CHECK (single),
    ahead bigint NOT NULL
);
INSERT INTO {schema}.positions VALUES (true, 0);
COMMENT ON COLUMN {schema}.partitions.position IS 'Of the last commit: its transaction, and what positions.ahead was then';
COMMENT ON COLUMN {schema}.partitions.marker IS 'The commits that made the last versions; 4 bytes of CRC-32C at the end';
COMMENT ON COLUMN {schema}.rows.value IS 'Protobuf; 4 bytes of CRC-32C over partition, key and value at the end';
COMMENT ON COLUMN {schema}.rows.event IS 'Where the row is an event: its position';
";

/// The columns that the newest migration leaves: table, column, type, whether it may be null.
const COLUMNS: [(&str, &str, &str, bool); 11] = [
    ("partitions", "id", "bigint", false),
    ("partitions", "key", "bytea", false),
    ("partitions", "marker", "bytea", true),
    ("partitions", "position", "bigint", false),
    ("partitions", "version", "bigint", false),
    ("positions", "ahead", "bigint", false),
    ("positions", "single", "boolean", false),
    ("rows", "event", "bigint", true),
    ("rows", "key", "bytea", false),
    ("rows", "partition", "bigint", false),
    ("rows", "value", "bytea", false),
];

/// The indexes without which a version could be checked twice, or a row be there twice.
const UNIQUE: [(&str, &str); 3] = [
    ("partitions", "partitions_id (id)"),
    ("partitions", "partitions_pkey (key)"),
    ("rows", "rows_pkey (partition, key)"),
];

/// What positions of a keyspace lie ahead of the ids of transactions.
pub type Ahead = i64;

/// Makes the keyspace's tables, or brings them up to date, or finds them as they should
/// be. Processes that do it at the same time wait for each other.
///
/// # Errors
/// [`StoreError::Misconfigured`]: tables of a newer version, or changed by somebody;
/// [`StoreError::Unavailable`].
pub async fn prepare(client: &mut Client, place: &str, schema: &str) -> Result<Ahead, StoreError> {
    let failed = |error| failure::unavailable(place, &error);
    let quoted = quote(schema);
    let transaction = client.transaction().await.map_err(failed)?;
    // Released with the transaction, whatever becomes of it.
    transaction
        .execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
            &[&format!("lombard schema {schema}")],
        )
        .await
        .map_err(failed)?;
    let there = transaction
        .query_one(
            "SELECT to_regclass($1) IS NOT NULL",
            &[&format!("{quoted}.migrations")],
        )
        .await
        .map_err(failed)?;
    if !there.get::<_, bool>(0) {
        transaction
            .batch_execute(&format!(
                "CREATE SCHEMA IF NOT EXISTS {quoted};
                 CREATE TABLE {quoted}.migrations (
                     number integer PRIMARY KEY,
                     name text NOT NULL,
                     at timestamptz NOT NULL DEFAULT now()
                 )"
            ))
            .await
            .map_err(failed)?;
    }
    let newest = transaction
        .query_one(
            &format!("SELECT coalesce(max(number), 0) FROM {quoted}.migrations"),
            &[],
        )
        .await
        .map_err(failed)?
        .get::<_, i32>(0);
    let known = MIGRATIONS.last().map_or(0, |(number, _, _)| *number);
    if newest > known {
        return Err(StoreError::Misconfigured(format!(
            "PostgreSQL at {place}: the schema {schema} is of version {newest}, and this program knows \
             up to {known}: start a newer program"
        )));
    }
    for (number, name, text) in MIGRATIONS {
        if number > newest {
            tracing::info!(schema, number, name, "migrating");
            transaction
                .batch_execute(&text.replace("{schema}", &quoted))
                .await
                .map_err(failed)?;
            transaction
                .execute(
                    &format!("INSERT INTO {quoted}.migrations (number, name) VALUES ($1, $2)"),
                    &[&number, &name],
                )
                .await
                .map_err(failed)?;
        }
    }
    check(&transaction, place, schema).await?;
    // The newest position must lie behind every transaction to come, also where the
    // tables were brought here from another server.
    let moved = transaction
        .query_one(
            &format!(
                "UPDATE {quoted}.positions SET ahead = greatest(ahead,
                     (SELECT greatest((SELECT max(position) FROM {quoted}.partitions),
                                      (SELECT max(event) FROM {quoted}.rows))
                      ) - pg_current_xact_id()::text::bigint + 1)
                 RETURNING ahead"
            ),
            &[],
        )
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(moved.get(0))
}

/// Compares what is there with what the migrations leave.
async fn check(
    client: &tokio_postgres::Transaction<'_>,
    place: &str,
    schema: &str,
) -> Result<(), StoreError> {
    let failed = |error| failure::unavailable(place, &error);
    let mut wrong = Vec::new();
    let columns = client
        .query(
            "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'YES'
             FROM information_schema.columns
             WHERE table_schema = $1 AND table_name IN ('partitions', 'positions', 'rows')
             ORDER BY 1, 2",
            &[&schema],
        )
        .await
        .map_err(failed)?;
    let columns: Vec<(String, String, String, bool)> = columns
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect();
    for (table, column, kind, null) in COLUMNS {
        let found = columns
            .iter()
            .find(|(of, name, ..)| (of.as_str(), name.as_str()) == (table, column));
        match found {
            None => wrong.push(format!("the column {table}.{column} is not there")),
            Some((.., is, _)) if is != kind => {
                wrong.push(format!(
                    "the column {table}.{column} is {is}, and not {kind}"
                ));
            }
            Some((.., may)) if *may != null => {
                let may = if null { "not null" } else { "null" };
                wrong.push(format!(
                    "the column {table}.{column} must not be declared to be {may}"
                ));
            }
            Some(_) => {}
        }
    }
    for (table, column, ..) in &columns {
        if !COLUMNS
            .iter()
            .any(|(of, name, ..)| (of, name) == (&table.as_str(), &column.as_str()))
        {
            wrong.push(format!("the column {table}.{column} is not ours"));
        }
    }
    let indexes = client
        .query(
            "SELECT c.relname::text, i.relname || ' (' || string_agg(a.attname, ', ' ORDER BY k.ord) || ')'
             FROM pg_index x
             JOIN pg_class i ON i.oid = x.indexrelid
             JOIN pg_class c ON c.oid = x.indrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(column_number, ord)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.column_number
             WHERE n.nspname = $1 AND x.indisunique AND x.indisvalid AND x.indpred IS NULL
             GROUP BY c.relname, i.relname",
            &[&schema],
        )
        .await
        .map_err(failed)?;
    let indexes: Vec<(String, String)> =
        indexes.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (table, index) in UNIQUE {
        if !indexes
            .iter()
            .any(|(of, name)| (of.as_str(), name.as_str()) == (table, index))
        {
            wrong.push(format!("the unique index {index} of {table} is not there"));
        }
    }
    let triggers = client
        .query(
            "SELECT c.relname || '.' || t.tgname FROM pg_trigger t
             JOIN pg_class c ON c.oid = t.tgrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND NOT t.tgisinternal
             UNION ALL
             SELECT tablename || '.' || rulename FROM pg_rules WHERE schemaname = $1",
            &[&schema],
        )
        .await
        .map_err(failed)?;
    for row in &triggers {
        let name: String = row.get(0);
        wrong.push(format!("the trigger or rule {name} is not ours"));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(StoreError::Misconfigured(format!(
        "PostgreSQL at {place}: somebody has changed the tables of the schema {schema}: {}",
        wrong.join("; ")
    )))
}

/// A name as SQL takes it.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
