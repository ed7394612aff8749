//! A service that does what a test asks it to, and ways to talk to it.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectrpc::{RequestContext, Router, ServiceRequest, ServiceResult};
use lombard_contracts::bank::customer::v1::*;
use lombard_rpc::client::{Channel, ChannelOptions};
use lombard_rpc::context::{self, CallContext};
use lombard_rpc::server::{Server, ServerOptions, Serving};
use lombard_rpc::{Error, Random};
use lombard_telemetry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What `GetCustomer` does is said by the id that it is asked for.
#[derive(Default)]
pub struct Stand {
    /// Calls that reached the handler.
    pub calls: AtomicU32,
    /// `fail-…` fails this many times, then succeeds.
    pub failures_left: AtomicU32,
    /// Lets `wait` go.
    pub gate: Notify,
    /// What the last handler knew about its call.
    pub seen: Mutex<Option<CallContext>>,
    /// Where `forward` goes.
    pub next: Mutex<Option<Channel>>,
}

#[expect(refining_impl_trait, reason = "the types are the point of a stand")]
impl CustomerService for Stand {
    async fn create_customer(
        &self,
        _ctx: RequestContext,
        request: ServiceRequest<'_, CreateCustomerRequest>,
    ) -> ServiceResult<CreateCustomerResponse> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        connectrpc::Response::ok(CreateCustomerResponse {
            customer: Customer {
                id: request.id.to_owned(),
                name: request.name.to_owned(),
                ..Customer::default()
            }
            .into(),
            ..CreateCustomerResponse::default()
        })
    }

    async fn get_customer(
        &self,
        _ctx: RequestContext,
        request: ServiceRequest<'_, GetCustomerRequest>,
    ) -> ServiceResult<GetCustomerResponse> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        *self.seen.lock().unwrap() = context::current();
        match request.id {
            "panic" => panic!("asked to"),
            "internal" => return Err(Error::internal("BROKEN", "a wheel came off").into()),
            "untyped" => return Err(connectrpc::ConnectError::not_found("nobody")),
            "refuse" => {
                return Err(Error::failed_precondition("FLOOR_BROKEN", "not enough")
                    .with("available_minor", 100)
                    .into());
            }
            "wait" => self.gate.notified().await,
            "slow" => tokio::time::sleep(Duration::from_millis(50)).await,
            "hang" => std::future::pending().await,
            "forward" | "forward-hang" => {
                let channel = self.next.lock().unwrap().clone().unwrap();
                let client = CustomerServiceClient::new(channel.clone(), channel.config());
                let id = if request.id == "forward" {
                    "last"
                } else {
                    "hang"
                };
                client
                    .get_customer(GetCustomerRequest {
                        id: id.to_owned(),
                        ..GetCustomerRequest::default()
                    })
                    .await?;
            }
            "fail-unavailable" if self.fails() => {
                return Err(Error::unavailable("NOT_NOW", "later").into());
            }
            "fail-precondition" if self.fails() => {
                return Err(Error::failed_precondition("NEVER", "no").into());
            }
            _ => {}
        }
        connectrpc::Response::ok(GetCustomerResponse {
            customer: Customer {
                id: request.id.to_owned(),
                ..Customer::default()
            }
            .into(),
            ..GetCustomerResponse::default()
        })
    }

    async fn list_customers(
        &self,
        _ctx: RequestContext,
        _request: ServiceRequest<'_, ListCustomersRequest>,
    ) -> ServiceResult<ListCustomersResponse> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        connectrpc::Response::ok(ListCustomersResponse::default())
    }
}

impl Stand {
    fn fails(&self) -> bool {
        let take = |left: u32| left.checked_sub(1);
        self.failures_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_ok()
    }
}

/// Numbers that are all different, in the whole process.
pub fn random() -> Random {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Arc::new(|| {
        NEXT.fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

pub struct Started {
    pub stand: Arc<Stand>,
    pub serving: Serving,
    pub address: SocketAddr,
    pub registry: Registry,
}

pub async fn start(options: ServerOptions) -> Started {
    let stand = Arc::new(Stand::default());
    let router = CustomerServiceExt::register(Arc::clone(&stand), Router::new());
    let registry = Registry::new(&[("service", "stand")]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = Server::new("stand", router, options, registry.clone(), random())
        .serve(listener)
        .unwrap();
    Started {
        stand,
        address: serving.address(),
        serving,
        registry,
    }
}

pub fn channel(addresses: &[SocketAddr], options: ChannelOptions) -> Channel {
    let addresses = addresses.iter().map(SocketAddr::to_string);
    Channel::new("test", addresses, options, random()).unwrap()
}

pub type Client = CustomerServiceClient<Channel>;

pub fn client(channel: &Channel) -> Client {
    CustomerServiceClient::new(channel.clone(), channel.config())
}

pub async fn get(client: &Client, id: &str) -> Result<String, Error> {
    let request = GetCustomerRequest {
        id: id.to_owned(),
        ..GetCustomerRequest::default()
    };
    match client.get_customer(request).await {
        Ok(answer) => Ok(answer.into_owned().customer.id.clone()),
        Err(error) => Err(Error::from_connect(&error)),
    }
}

/// A plain HTTP/1.1 exchange: status, head, body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// What `curl` shows of the error's detail.
    pub fn detail(&self) -> serde_json::Value {
        self.json()["details"][0]["debug"].clone()
    }
}

pub async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

pub const GET_CUSTOMER: &str = "/bank.customer.v1.CustomerService/GetCustomer";

pub async fn post(address: SocketAddr, path: &str, body: impl AsRef<[u8]>) -> Answer {
    let json = [("content-type", "application/json")];
    exchange(address, "POST", path, &json, body.as_ref()).await
}
