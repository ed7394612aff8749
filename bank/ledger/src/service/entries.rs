//! Entries: one, a batch, a reversal; and reading them back.

use buffa::Message as _;
use connectrpc::PreEncoded;
use lombard_contracts::bank::ledger::v1::{
    CreateEntriesResponse, CreateEntryResponse, EntryOutcome, GetEntryResponse,
    ReverseEntryResponse,
};
use lombard_store::{Position, Stop};

use super::metrics::Answered;
use super::{Failure, Ledger, answer};
use crate::apply::Carried;
use crate::flow::{Posted, in_doubt};
use crate::parse::{Batch, Chain};
use crate::reads::entry::{self as read, Elsewhere};
use crate::refusal::Refusal;
use crate::rows::Decision;
use crate::types::{Entry, EntryId, other_accounts};

/// Chains of a batch after which others on this thread get their turn.
const CHAINS_PER_TURN: usize = 64;

impl Ledger {
    /// Commits one entry, or says what would happen.
    ///
    /// # Errors
    /// The refusal; the store's failure.
    pub async fn post(&self, entry: &Entry, dry_run: bool) -> Result<Posted, Failure> {
        let guard = self.in_flight.begin(|| self.keyspace.position());
        let run = self
            .flow
            .run(std::slice::from_ref(entry), self.now_us(), dry_run)
            .await?;
        guard.finish();
        let mut answers = run.durable(&self.keyspace).await?;
        match answers.pop() {
            Some(answer) => {
                if !dry_run {
                    self.metrics.answered(Answered::one(answer.as_ref()));
                }
                let posted = answer?;
                if let Some((_, hold)) = posted.hold.as_deref() {
                    self.sweeper.watch(&entry.home, hold.expires_us);
                }
                Ok(posted)
            }
            None => Err(Refusal::invalid("NO_ENTRIES", "nothing was asked for").into()),
        }
    }

    /// Commits one entry, or says what would happen.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn create_entry(
        &self,
        entry: &Entry,
        dry_run: bool,
    ) -> Result<CreateEntryResponse, Failure> {
        let posted = self.post(entry, dry_run).await?;
        Ok(CreateEntryResponse {
            result: Some(answer::posted(&posted, false)).into(),
            dry_run,
            ..CreateEntryResponse::default()
        })
    }

    /// Commits the mirror image of an entry.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn reverse_entry(&self, reversal: &Entry) -> Result<ReverseEntryResponse, Failure> {
        let posted = self.post(reversal, false).await?;
        Ok(ReverseEntryResponse {
            result: Some(answer::posted(&posted, false)).into(),
            ..ReverseEntryResponse::default()
        })
    }

    /// Commits a batch in order: each entry has a result of its own, and all of
    /// them are waited for once.
    ///
    /// # Errors
    /// The store's failure: nobody knows which entries are in; sent again, those
    /// that are give their first answer.
    pub async fn create_entries(
        &self,
        mut batch: Batch<'_, '_>,
        brief: bool,
    ) -> Result<PreEncoded<CreateEntriesResponse>, Failure> {
        if self.keyspace.is_remote() {
            return self.create_entries_in_waves(batch, brief).await;
        }
        let mut outcomes = Outcomes::new(brief);
        let guard = self.in_flight.begin(|| self.keyspace.position());
        let mut seen = Position::default();
        let (mut chains, mut tried) = (0, 0);
        while let Some(chain) = batch.next_chain() {
            chains += 1;
            if chains % CHAINS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
            let entries = match chain {
                Chain::Entries(entries) => entries,
                Chain::Refused(refusals) => {
                    for refusal in &refusals {
                        outcomes.add(Err(refusal));
                    }
                    continue;
                }
            };
            let run = match self.flow.run(entries, self.now_us(), false).await {
                Err(error) if tried > 0 => return Err(in_doubt(error).into()),
                run => run?,
            };
            seen = seen.max(run.position);
            tried += 1;
            for answer in &run.value {
                outcomes.add(answer.as_ref());
            }
        }
        guard.finish();
        self.metrics.answered(outcomes.answered);
        self.keyspace.durable(seen).await?;
        Ok(outcomes.finish())
    }

    /// As [`Self::create_entries`], where each commit takes a round trip.
    async fn create_entries_in_waves(
        &self,
        mut batch: Batch<'_, '_>,
        brief: bool,
    ) -> Result<PreEncoded<CreateEntriesResponse>, Failure> {
        let (mut chains, mut order) = (Vec::new(), Vec::new());
        while let Some(chain) = batch.next_chain() {
            match chain {
                Chain::Entries(entries) => {
                    order.push(None);
                    chains.push(entries.to_vec());
                }
                Chain::Refused(refusals) => order.push(Some(refusals)),
            }
        }
        let guard = self.in_flight.begin(|| self.keyspace.position());
        let run = self.flow.run_all(&chains, || self.now_us()).await?;
        guard.finish();
        self.keyspace.durable(run.position).await?;
        let mut outcomes = Outcomes::new(brief);
        let mut answers = run.value.into_iter();
        for refused in order {
            match refused {
                Some(refusals) => {
                    for refusal in &refusals {
                        outcomes.add(Err(refusal));
                    }
                }
                None => {
                    for answer in answers.next().unwrap_or_default() {
                        outcomes.add(answer.as_ref());
                    }
                }
            }
        }
        self.metrics.answered(outcomes.answered);
        Ok(outcomes.finish())
    }

    /// Reads an entry back: what home decided, and whether every leg is where it belongs.
    ///
    /// # Errors
    /// `ACCOUNT_NOT_FOUND`, `ENTRY_NOT_FOUND`; the store's failure.
    pub async fn entry(&self, home: &str, id: EntryId) -> Result<GetEntryResponse, Failure> {
        let mut seen = Position::default();
        let at_home = self
            .glance(home, &mut seen, |rows| read::at_home(rows, home, id))
            .await??;
        let mut outcomes = at_home.outcomes.clone();
        let mut complete = true;
        if at_home.row.decision.as_known() == Some(Decision::Accepted) {
            let carried = Carried {
                id,
                digest: at_home.digest,
                home,
                decided_us: at_home.row.booked_us,
                value_day: at_home.row.value_day,
                reference: &at_home.row.reference,
                actor: &at_home.row.actor,
                legs: &at_home.legs,
                now_us: self.now_us(),
            };
            for account in other_accounts(home, &at_home.legs) {
                match self
                    .glance(account, &mut seen, |rows| {
                        read::elsewhere(rows, account, &carried)
                    })
                    .await??
                {
                    Elsewhere::Missing => complete = false,
                    Elsewhere::Applied(applied) => outcomes.extend(applied),
                    Elsewhere::Diverted { suspense } => {
                        let look = |rows: &lombard_store::Rows<'_>| {
                            read::in_suspense(rows, id, home, account)
                                .map_err(Stop::<Refusal>::from)
                        };
                        complete &= self.glance(&suspense, &mut seen, look).await??;
                    }
                }
            }
        }
        self.keyspace.durable(seen).await?;
        Ok(read::message(id, home, &at_home, &outcomes, complete))
    }
}

/// A batch's answer, encoded as it comes: thousands of outcomes would leave the
/// processor's caches before the last one is there.
struct Outcomes {
    brief: bool,
    answered: Answered,
    encoded: Vec<u8>,
    one: CreateEntriesResponse,
}

impl Outcomes {
    fn new(brief: bool) -> Self {
        Self {
            brief,
            answered: Answered::default(),
            encoded: Vec::new(),
            one: CreateEntriesResponse::default(),
        }
    }

    /// The next one, in the order of the request. Messages one behind the other are one
    /// message, with what repeats in this order (protobuf, "Encoding", last one wins).
    fn add(&mut self, answer: Result<&Posted, &Refusal>) {
        self.answered.add(answer);
        self.one.outcomes.clear();
        self.one.outcomes.push(EntryOutcome {
            outcome: match answer {
                Ok(posted) => answer::posted(posted, self.brief).into(),
                Err(refusal) => answer::refusal(refusal).into(),
            },
            ..EntryOutcome::default()
        });
        self.one.encode(&mut self.encoded);
    }

    fn finish(self) -> PreEncoded<CreateEntriesResponse> {
        PreEncoded::from_bytes_unchecked(self.encoded)
    }
}
