//! The handlers.

use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};
use futures::{StreamExt, TryStreamExt, stream};
use lombard_contracts::bank::customer::v1::{
    CreateCustomerRequest, CreateCustomerResponse, Customer, CustomerService, GetCustomerRequest,
    GetCustomerResponse, ListCustomersRequest, ListCustomersResponse,
};
use lombard_rpc::context;
use lombard_service::Host;
use lombard_store::{Keyspace, StoreError};

use crate::error::Error;
use crate::limits::READS_PER_PAGE_MAX;
use crate::options::Options;
use crate::parse;
use crate::rows::CustomerRow;
use crate::rules::{self, Cause};

/// The customer service over its keyspace.
pub struct Service {
    keyspace: Keyspace,
    options: Options,
    host: Host,
}

impl Service {
    /// Over this keyspace.
    pub fn new(keyspace: Keyspace, options: Options, host: Host) -> Self {
        Self {
            keyspace,
            options,
            host,
        }
    }

    async fn create(&self, new: parse::NewCustomer) -> Result<CreateCustomerResponse, Error> {
        let trace = context::with(|call| format!("{:032x}", call.trace.trace_id));
        let cause = Cause {
            now_us: self.host.now_us(),
            trace: trace.unwrap_or_default(),
        };
        let created = self.keyspace.update(new.id.as_bytes(), |rows| {
            rules::create(rows, &new, &self.options, &cause)
        });
        let (row, replayed) = created.await?.durable(&self.keyspace).await??;
        let customer = customer(&new.id, row);
        Ok(CreateCustomerResponse {
            customer: customer.into(),
            replayed,
            ..Default::default()
        })
    }

    async fn get(&self, id: &str) -> Result<Customer, Error> {
        let found = self
            .keyspace
            .read(id.as_bytes(), |rows| rules::get(rows, id))
            .await?;
        Ok(customer(id, found.durable(&self.keyspace).await??))
    }

    async fn list(&self, after: Option<&str>, size: usize) -> Result<ListCustomersResponse, Error> {
        // One more than the page tells whether another page follows.
        let keys = self
            .keyspace
            .partitions(after.map(str::as_bytes), size + 1)
            .await?;
        let more = keys.len() > size;
        let read = keys.into_iter().take(size).map(|key| async move {
            let id = std::str::from_utf8(&key).map_err(|_| {
                StoreError::Damaged(format!("customer partition {}: no id", key.escape_ascii()))
            })?;
            self.get(id).await
        });
        let customers: Vec<Customer> = stream::iter(read)
            .buffered(READS_PER_PAGE_MAX)
            .try_collect()
            .await?;
        let last = customers.last().filter(|_| more);
        let next_page_token = last.map(|customer| customer.id.clone()).unwrap_or_default();
        Ok(ListCustomersResponse {
            customers,
            next_page_token,
            ..Default::default()
        })
    }
}

fn customer(id: &str, row: CustomerRow) -> Customer {
    Customer {
        id: id.to_owned(),
        name: row.name,
        email: row.email,
        date_of_birth: row.date_of_birth,
        created_us: row.created_us,
        ..Customer::default()
    }
}

#[allow(refining_impl_trait, reason = "a handler answers with its message")]
impl CustomerService for Service {
    async fn create_customer(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, CreateCustomerRequest>,
    ) -> ServiceResult<CreateCustomerResponse> {
        let new = parse::new_customer(&request)?;
        Response::ok(self.create(new).await?)
    }

    async fn get_customer(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, GetCustomerRequest>,
    ) -> ServiceResult<GetCustomerResponse> {
        let customer = self.get(parse::id(request.id)?).await?;
        Response::ok(GetCustomerResponse {
            customer: customer.into(),
            ..Default::default()
        })
    }

    async fn list_customers(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, ListCustomersRequest>,
    ) -> ServiceResult<ListCustomersResponse> {
        let (after, size) = parse::page(&request)?;
        Response::ok(self.list(after, size).await?)
    }
}
