//! How many calls a second the two stacks carry, with nothing behind them.
//!
//! ```sh
//! cargo run --release -p lombard-rpc --example echo_bench -- --callers 64 --connections 2
//! cargo run --release -p lombard-rpc --example echo_bench -- --callers 64 --http 1.1
//! ```
//!
//! Client and server share one process and its worker threads. `--raw` takes the
//! library's own HTTP/1.1 client instead of the channel, for comparison.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a bench runs on the real clock, and stops when something is wrong"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use connectrpc::client::{ClientConfig, ClientTransport, HttpClient};
use connectrpc::http_body::Body;
use connectrpc::{RequestContext, Router, ServiceRequest, ServiceResult};
use lombard_contracts::bank::customer::v1::{
    CreateCustomerRequest, CreateCustomerResponse, Customer, CustomerService,
    CustomerServiceClient, CustomerServiceExt, GetCustomerRequest, GetCustomerResponse,
    ListCustomersRequest, ListCustomersResponse,
};
use lombard_rpc::Random;
use lombard_rpc::client::{Channel, ChannelOptions, HttpVersion};
use lombard_rpc::server::{Server, ServerOptions};
use lombard_telemetry::Registry;
use tokio::net::TcpListener;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Echo;

#[expect(refining_impl_trait, reason = "a bench has no other implementation")]
impl CustomerService for Echo {
    async fn create_customer(
        &self,
        _ctx: RequestContext,
        request: ServiceRequest<'_, CreateCustomerRequest>,
    ) -> ServiceResult<CreateCustomerResponse> {
        connectrpc::Response::ok(CreateCustomerResponse {
            customer: Customer {
                id: request.id.to_owned(),
                name: request.name.to_owned(),
                email: request.email.to_owned(),
                ..Customer::default()
            }
            .into(),
            ..CreateCustomerResponse::default()
        })
    }

    async fn get_customer(
        &self,
        _ctx: RequestContext,
        _request: ServiceRequest<'_, GetCustomerRequest>,
    ) -> ServiceResult<GetCustomerResponse> {
        connectrpc::Response::ok(GetCustomerResponse::default())
    }

    async fn list_customers(
        &self,
        _ctx: RequestContext,
        _request: ServiceRequest<'_, ListCustomersRequest>,
    ) -> ServiceResult<ListCustomersResponse> {
        connectrpc::Response::ok(ListCustomersResponse::default())
    }
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    Some(arguments.next().unwrap_or_default())
}

fn number(name: &str, default: usize) -> usize {
    argument(name).map_or(default, |text| text.parse().expect("a number"))
}

fn random() -> Random {
    let next = AtomicU64::new(1);
    Arc::new(move || {
        next.fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(number("--threads", 2))
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let callers = number("--callers", 64);
    let seconds = number("--seconds", 5);
    if let Some(address) = argument("--serve") {
        let serving = serve(&address).await;
        println!("serving on {}", serving.address());
        std::future::pending::<()>().await;
    }
    let mut serving = None;
    let address = match argument("--address") {
        Some(address) => address,
        None => {
            let here = serve("127.0.0.1:0").await;
            let address = here.address().to_string();
            serving = Some(here);
            address
        }
    };
    if argument("--raw").is_some() {
        let config = ClientConfig::new(format!("http://{address}").parse().unwrap());
        measure(
            "raw HTTP/1.1",
            HttpClient::plaintext(),
            config,
            callers,
            seconds,
        )
        .await;
    } else {
        let http_version = match argument("--http").as_deref() {
            Some("1.1") => HttpVersion::Http1,
            _ => HttpVersion::Http2,
        };
        let options = ChannelOptions {
            http_version,
            connections_per_address: number("--connections", 2),
            ..ChannelOptions::default()
        };
        let what = match http_version {
            HttpVersion::Http1 => "channel, HTTP/1.1".to_owned(),
            HttpVersion::Http2 => {
                format!(
                    "channel, HTTP/2, {} connections",
                    options.connections_per_address
                )
            }
        };
        let channel = Channel::new("bench", [address], options, random()).unwrap();
        let config = channel.config();
        measure(&what, channel, config, callers, seconds).await;
    }
    if let Some(serving) = serving {
        serving.drain().await;
    }
}

async fn serve(address: &str) -> lombard_rpc::server::Serving {
    let router = CustomerServiceExt::register(Arc::new(Echo), Router::new());
    let listener = TcpListener::bind(address).await.unwrap();
    let options = ServerOptions {
        drain_linger_ms: 0,
        ..ServerOptions::default()
    };
    Server::new("echo", router, options, Registry::new(&[]), random())
        .serve(listener)
        .unwrap()
}

async fn measure<T>(what: &str, transport: T, config: ClientConfig, callers: usize, seconds: usize)
where
    T: ClientTransport,
    <T::ResponseBody as Body>::Error: std::fmt::Display,
{
    let counting = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let client = CustomerServiceClient::new(transport.clone(), config.clone());
            let counting = Arc::clone(&counting);
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let request = CreateCustomerRequest {
                    id: format!("customer-{caller}"),
                    name: "Ada Lovelace".to_owned(),
                    email: "ada@example.com".to_owned(),
                    ..CreateCustomerRequest::default()
                };
                let mut took_us: Vec<u32> = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let answer = client.create_customer(request.clone()).await.unwrap();
                    assert_eq!(answer.view().customer.name, "Ada Lovelace");
                    if counting.load(Ordering::Relaxed) {
                        took_us.push(started.elapsed().as_micros() as u32);
                    }
                }
                took_us
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    counting.store(true, Ordering::Relaxed);
    let started = Instant::now();
    let cpu_before_us = self::cpu_us();
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    stop.store(true, Ordering::Relaxed);
    let elapsed = started.elapsed();
    let cpu_us = cpu_us() - cpu_before_us;
    let mut took_us = Vec::new();
    for task in tasks {
        took_us.extend(task.await.unwrap());
    }
    took_us.sort_unstable();
    let at = |share: f64| took_us[((took_us.len() - 1) as f64 * share) as usize];
    println!(
        "{what}, {callers} callers: {:.0} calls/s, {:.1} us of CPU each; p50 {} us, p99 {} us, p99.9 {} us, max {} us",
        took_us.len() as f64 / elapsed.as_secs_f64(),
        cpu_us as f64 / took_us.len() as f64,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
    );
}

/// CPU time of this process so far, user and system. What a call costs in it does not
/// depend on what else the machine is doing.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Fields 14 and 15, counted behind the name, which may hold blanks (proc(5)).
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = [11, 12]
        .iter()
        .map(|&at| fields[at].parse::<u64>().unwrap())
        .sum();
    ticks * 10_000
}
