//! One cluster: the driver's session with it, how requests are sent, and what was counted.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lombard_store::StoreError;
use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, MetadataFetchErrorKind, NewSessionError,
};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::batch::BatchValues;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::Batch;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency, Statement};

use crate::admission::{Admission, Permit};
use crate::fault;
use crate::options::{CassandraOptions, ClusterOptions};
use crate::retry::{CommitRetry, ReadRetry};
use crate::tls;

/// Rows that a page of an answer holds.
const PAGE_ROWS: i32 = 500;

/// What was counted of the requests to a cluster.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    pub requests: AtomicU64,
    pub failures: AtomicU64,
    pub timeouts: AtomicU64,
    pub ambiguous: AtomicU64,
}

/// A cluster that answers.
pub(crate) struct Cluster {
    pub name: String,
    pub options: ClusterOptions,
    pub session: Session,
    pub counts: RequestCounts,
    admission: Arc<Admission>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({})", self.name)
    }
}

impl Cluster {
    /// Connects, once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] names the addresses of which none answers;
    /// [`StoreError::Misconfigured`] if one does and will not have us.
    pub async fn connect(name: &str, all: &CassandraOptions) -> Result<Self, StoreError> {
        let Some(options) = all.clusters.get(name) else {
            return Err(StoreError::Misconfigured(format!(
                "cassandra: there is no cluster {name:?}"
            )));
        };
        let millis = Duration::from_millis;
        let (consistency, serial) = consistencies(options);
        let profile = ExecutionProfile::builder()
            .consistency(consistency)
            .serial_consistency(Some(serial))
            .request_timeout(Some(millis(all.request_timeout_ms)))
            .retry_policy(Arc::new(CommitRetry))
            .load_balancing_policy(DefaultPolicy::builder().token_aware(true).build())
            // Only statements that are marked as idempotent are ever sent twice.
            .speculative_execution_policy(Some(Arc::new(SimpleSpeculativeExecutionPolicy {
                max_retry_count: 1,
                retry_interval: millis(all.read_again_after_ms),
            })))
            .build();
        let connections = NonZeroUsize::new(all.connections_per_node).unwrap_or(NonZeroUsize::MIN);
        let mut builder = SessionBuilder::new()
            .known_nodes(&options.contact_points)
            .default_execution_profile_handle(profile.into_handle())
            .pool_size(PoolSize::PerHost(connections))
            .connection_timeout(millis(all.connect_timeout_ms))
            .keepalive_interval(millis(all.keepalive_interval_ms))
            .keepalive_timeout(millis(all.keepalive_timeout_ms))
            .schema_agreement_timeout(millis(all.schema_agreement_timeout_ms))
            .schema_agreement_interval(millis(50))
            // Columns are looked up where a keyspace is opened, not with every refresh.
            .fetch_full_schema_metadata(false)
            .tcp_nodelay(true);
        if let Some(datacenter) = &options.datacenter {
            builder = builder.prefer_datacenter(datacenter.clone());
        }
        if let Some((user, password)) = options.credentials(name)? {
            builder = builder.user(user, password.reveal());
        }
        if let Some(tls) = &options.tls {
            builder = builder.tls_context(Some(tls::client_config(tls)?));
        }
        let session = builder
            .build()
            .await
            .map_err(|error| not_connected(name, options, &error))?;
        Ok(Self {
            name: name.to_owned(),
            options: options.clone(),
            session,
            counts: RequestCounts::default(),
            admission: Admission::new(all.operations_in_flight_max, millis(all.late_after_ms)),
        })
    }

    /// Prepares a statement that reads, at the consistency of the quorum.
    ///
    /// # Errors
    /// Its table is not as it should be, or nobody answers.
    pub async fn prepare_read(&self, text: &str) -> Result<PreparedStatement, StoreError> {
        let mut prepared = self.prepare(text).await?;
        prepared.set_is_idempotent(true);
        prepared.set_retry_policy(Some(Arc::new(ReadRetry)));
        Ok(prepared)
    }

    /// The same statement, at serial consistency: it sees every commit that was decided
    /// before it, and none after it that one before it could not see.
    pub fn serially(&self, prepared: &PreparedStatement) -> PreparedStatement {
        let mut prepared = prepared.clone();
        prepared.set_consistency(match self.serial() {
            SerialConsistency::Serial => Consistency::Serial,
            SerialConsistency::LocalSerial => Consistency::LocalSerial,
        });
        prepared
    }

    /// Prepares a statement. The driver sends it once, unless nothing has begun.
    ///
    /// # Errors
    /// Its table is not as it should be, or nobody answers.
    pub async fn prepare(&self, text: &str) -> Result<PreparedStatement, StoreError> {
        let statement = Statement::new(text).with_page_size(PAGE_ROWS);
        let prepared = self.session.prepare(statement).await;
        prepared.map_err(|error| fault::of_prepare(&format!("preparing {text:?}"), &error))
    }

    /// The consistency of the decision in conditional commits.
    pub fn serial(&self) -> SerialConsistency {
        consistencies(&self.options).1
    }

    /// All rows of an answer that is short.
    ///
    /// # Errors
    /// The driver's.
    pub async fn execute(
        &self,
        prepared: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, ExecutionError> {
        let sent = now();
        let result = self.session.execute_unpaged(prepared, values).await;
        self.count(sent, result.as_ref().err());
        result
    }

    /// One page of an answer.
    ///
    /// # Errors
    /// The driver's.
    pub async fn page(
        &self,
        prepared: &PreparedStatement,
        values: impl SerializeRow,
        from: PagingState,
    ) -> Result<(QueryResult, PagingStateResponse), ExecutionError> {
        let sent = now();
        let result = self
            .session
            .execute_single_page(prepared, values, from)
            .await;
        self.count(sent, result.as_ref().err());
        result
    }

    /// A conditional commit.
    ///
    /// # Errors
    /// The driver's.
    pub async fn commit(
        &self,
        batch: &Batch,
        values: impl BatchValues,
    ) -> Result<QueryResult, ExecutionError> {
        let sent = now();
        let result = self.session.batch(batch, values).await;
        self.count(sent, result.as_ref().err());
        result
    }

    /// Waits until a read or a commit may be begun, with all requests that it needs.
    pub async fn admit(&self) -> Permit {
        self.admission.admit().await
    }

    /// How many reads and commits may be on their way now.
    pub fn admitted_max(&self) -> usize {
        self.admission.limit()
    }

    fn count(&self, sent: Instant, failure: Option<&ExecutionError>) {
        self.admission.answered(sent, now());
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(error) = failure {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            if fault::is_timeout(error) {
                self.counts.timeouts.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the cluster takes is measured; it decides how many requests wait, nothing else"
)]
fn now() -> Instant {
    Instant::now()
}

/// What a plain request and a decision wait for.
fn consistencies(options: &ClusterOptions) -> (Consistency, SerialConsistency) {
    if options.datacenter.is_some() {
        (Consistency::LocalQuorum, SerialConsistency::LocalSerial)
    } else {
        (Consistency::Quorum, SerialConsistency::Serial)
    }
}

/// Why there is no session: nobody answers, or somebody does and will not have us.
fn not_connected(name: &str, options: &ClusterOptions, error: &NewSessionError) -> StoreError {
    let addresses = options.contact_points.join(", ");
    let words = format!(
        "cassandra: cluster {name} at {addresses}: {}",
        fault::in_words(error)
    );
    let refused = match error {
        NewSessionError::EmptyKnownNodesList | NewSessionError::IllegalConfig(_) => true,
        NewSessionError::MetadataError(error) => metadata_refused(error),
        _ => false,
    };
    if refused {
        StoreError::Misconfigured(words)
    } else {
        StoreError::Unavailable(words)
    }
}

fn metadata_refused(error: &MetadataError) -> bool {
    match error {
        MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
            last_connection_error,
        }) => connection_refused(last_connection_error),
        MetadataError::FetchError(fetch) => match &fetch.error {
            MetadataFetchErrorKind::PrepareError(scylla::errors::RequestAttemptError::DbError(
                error,
                _,
            )) => matches!(error, DbError::Unauthorized | DbError::Invalid),
            MetadataFetchErrorKind::InvalidColumnType(_) => true,
            _ => false,
        },
        _ => false,
    }
}

fn connection_refused(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::ConnectionSetupRequestError(setup) => match &setup.error {
            ConnectionSetupRequestErrorKind::DbError(error, _) => matches!(
                error,
                DbError::AuthenticationError | DbError::Unauthorized | DbError::ProtocolError
            ),
            ConnectionSetupRequestErrorKind::MissingAuthentication
            | ConnectionSetupRequestErrorKind::StartAuthSessionError(_)
            | ConnectionSetupRequestErrorKind::AuthChallengeEvaluationError(_)
            | ConnectionSetupRequestErrorKind::AuthFinishError(_) => true,
            _ => false,
        },
        // A certificate that does not fit comes as an input-output error around one of rustls.
        ConnectionError::IoError(error) => error
            .get_ref()
            .is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => false,
    }
}
