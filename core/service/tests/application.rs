//! Services in one process, from start to stop.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests of a process run on the real clock"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectrpc::{RequestContext, Router, ServiceRequest, ServiceResult};
use lombard_contracts::bank::customer::v1::*;
use lombard_rpc::Error;
use lombard_rpc::client::Channel;
use lombard_service::testing::Harness;
use lombard_service::{
    Application, Running, RunningApplication, ServiceContext, StartError, StopReason,
};
use lombard_store::StoreError;

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Answers with its own name; `GetCustomer` asks the service behind it too.
struct Desk {
    name: &'static str,
    behind: Option<Channel>,
}

#[expect(refining_impl_trait, reason = "the types are the point of a desk")]
impl CustomerService for Desk {
    async fn create_customer(
        &self,
        _ctx: RequestContext,
        _request: ServiceRequest<'_, CreateCustomerRequest>,
    ) -> ServiceResult<CreateCustomerResponse> {
        Err(Error::unimplemented("NOT_HERE", "a desk creates nobody").into())
    }

    async fn get_customer(
        &self,
        _ctx: RequestContext,
        request: ServiceRequest<'_, GetCustomerRequest>,
    ) -> ServiceResult<GetCustomerResponse> {
        let mut name = self.name.to_owned();
        if request.id == "slow" {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        if let Some(channel) = &self.behind {
            name = format!("{name} > {}", ask(channel, request.id).await?);
        }
        connectrpc::Response::ok(GetCustomerResponse {
            customer: Customer {
                name,
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
        connectrpc::Response::ok(ListCustomersResponse::default())
    }
}

async fn ask(channel: &Channel, id: &str) -> Result<String, Error> {
    let client = CustomerServiceClient::new(channel.clone(), channel.config());
    let request = GetCustomerRequest {
        id: id.to_owned(),
        ..GetCustomerRequest::default()
    };
    match client.get_customer(request).await {
        Ok(answer) => Ok(answer.into_owned().customer.name.clone()),
        Err(error) => Err(Error::from_connect(&error)),
    }
}

fn desk(context: &ServiceContext, behind: Option<&str>) -> Result<Running, Error> {
    let behind = behind.map(|name| context.channel_to(name)).transpose()?;
    let service = Arc::new(Desk {
        name: context.name,
        behind,
    });
    Ok(Running::new(service.register(Router::new())))
}

fn bank(harness: &Harness, diary: &Diary) -> Application {
    let (first, second) = (diary.clone(), diary.clone());
    harness
        .application(harness.store())
        .service("ledger", move |context| {
            let diary = first.clone();
            async move {
                diary.note("start ledger");
                let (drain, stop) = (diary.clone(), diary);
                Ok(desk(&context, None)?
                    .on_drain(|| async move { drain.note("drain ledger") })
                    .on_stop(|| async move { stop.note("stop ledger") }))
            }
        })
        .service("account", move |context| {
            let diary = second.clone();
            async move {
                diary.note("start account");
                let _: BTreeMap<String, u32> = context.options()?;
                let channel = context.channel_to("ledger")?;
                let (drain, stop) = (diary.clone(), diary.clone());
                let host = context.host.clone();
                context.host.tasks().spawn("loop", async move {
                    host.shutdown().requested().await;
                    diary.note("loop ended");
                });
                Ok(desk(&context, Some("ledger"))?
                    .on_drain(|| async move {
                        // What it calls is still there.
                        let answer = ask(&channel, "x").await.unwrap();
                        drain.note(format!("drain account: {answer}"));
                    })
                    .on_stop(|| async move { stop.note("stop account") }))
            }
        })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_start_in_order_call_each_other_and_stop_in_reverse() {
    let harness = Harness::new("order");
    let diary = Diary::default();
    let running = bank(&harness, &diary).start().await.unwrap();
    assert_eq!(running.addresses().len(), 2);
    assert_ne!(
        running.addresses()["ledger"],
        running.addresses()["account"]
    );
    let channel = harness.channel(&running, "account");
    assert_eq!(ask(&channel, "x").await.unwrap(), "account > ledger");
    let stopped = running.shutdown().await;
    assert!(stopped.is_clean(), "{stopped:?}");
    assert_eq!(stopped.reason, StopReason::Asked);
    assert_eq!(
        diary.read(),
        [
            "start ledger",
            "start account",
            "drain account: ledger",
            "drain ledger",
            "loop ended",
            "stop account",
            "stop ledger",
        ]
    );
    assert!(ask(&channel, "x").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_under_load_drops_no_call() {
    let harness = Harness::new("load");
    let running = bank(&harness, &Diary::default()).start().await.unwrap();
    let channel = harness.channel(&running, "account");
    let answered = Arc::new(AtomicU32::new(0));
    let stopping = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..24)
        .map(|_| {
            let (channel, answered, stopping) = (
                channel.clone(),
                Arc::clone(&answered),
                Arc::clone(&stopping),
            );
            tokio::spawn(async move {
                loop {
                    match ask(&channel, "slow").await {
                        Ok(name) => {
                            assert_eq!(name, "account > ledger");
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => {
                            // Never "internal", never cut off: only that nobody is there.
                            assert_eq!(error.reason, "UNREACHABLE", "{error}");
                            assert!(stopping.load(Ordering::SeqCst), "{error}");
                            return;
                        }
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stopping.store(true, Ordering::SeqCst);
    let stopped = running.shutdown().await;
    assert!(stopped.is_clean(), "{stopped:?}");
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(answered.load(Ordering::SeqCst) >= 48);
}

#[tokio::test]
async fn wait_or_ends_with_what_it_waits_for() {
    let harness = Harness::new("wait");
    let running = bank(&harness, &Diary::default()).start().await.unwrap();
    let stopped = running
        .wait_or(tokio::time::sleep(Duration::from_millis(5)))
        .await;
    assert!(stopped.is_clean(), "{stopped:?}");
    assert_eq!(stopped.reason, StopReason::Asked);
}

async fn fails(application: Application) -> StartError {
    application
        .start()
        .await
        .map(|_: RunningApplication| ())
        .unwrap_err()
}

#[tokio::test]
async fn what_was_started_is_stopped_if_a_later_service_fails() {
    let harness = Harness::new("failing");
    let diary = Diary::default();
    let application =
        bank(&harness, &diary).service("card", |_| async { Err("no card printer".into()) });
    let error = fails(application).await;
    assert_eq!(error.to_string(), "card did not start: no card printer");
    let diary = diary.read();
    assert_eq!(diary.last().unwrap(), "stop ledger");
    assert!(diary.contains(&"drain account: ledger".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_store_is_unavailable_is_started_again() {
    let harness = Harness::new("again");
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = attempts.clone();
    let application = bank(&harness, &Diary::default()).service("card", move |context| {
        let attempt = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            match attempt {
                0 | 1 => Err(StoreError::Unavailable("no quorum".into()).into()),
                _ => Ok(desk(&context, Some("ledger"))?),
            }
        }
    });
    let running = application.start().await.unwrap();
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
    let channel = harness.channel(&running, "card");
    assert_eq!(ask(&channel, "x").await.unwrap(), "card > ledger");
    assert!(running.shutdown().await.is_clean());
}

#[tokio::test]
async fn a_wrong_configuration_stops_the_start_and_says_where() {
    let server = Harness::new("server").set("server.max_conections", 5);
    let error = fails(bank(&server, &Diary::default())).await;
    assert_eq!(
        error.to_string(),
        "flag server.max_conections: unknown key \"server.max_conections\"; did you mean \"max_connections\"?"
    );
    let section = Harness::new("section").set("acount.page_size", 5);
    let error = fails(bank(&section, &Diary::default())).await;
    assert_eq!(
        error.to_string(),
        "flag acount.page_size: unknown section \"acount\"; did you mean \"account\"?"
    );
    let known = Harness::new("known").set("account.page_size", 5);
    let running = bank(&known, &Diary::default()).start().await.unwrap();
    running.shutdown().await;
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_named_with_what_it_waits_for() {
    let harness = Harness::new("ready").set("host.start_timeout_ms", 30);
    let application = harness
        .application(harness.store())
        .service("slow", |context| async move {
            Ok(desk(&context, None)?.ready(|| Err("replaying the log".to_owned())))
        });
    assert_eq!(
        fails(application).await.to_string(),
        "slow was not ready after 30 ms: replaying the log"
    );
}

#[tokio::test]
async fn a_service_elsewhere_needs_an_address() {
    let harness = Harness::new("elsewhere");
    let lonely = |harness: &Harness| {
        harness
            .application(harness.store())
            .service("account", |context| async move {
                Ok(desk(&context, Some("ledger"))?)
            })
    };
    let error = fails(lonely(&harness)).await.to_string();
    assert!(error.contains("[addresses] ledger"), "{error}");

    let other = bank(&Harness::new("other"), &Diary::default())
        .start()
        .await
        .unwrap();
    let address = other.addresses()["ledger"];
    let harness = harness.set("addresses.ledger", format!("[\"{address}\"]"));
    let running = lonely(&harness).start().await.unwrap();
    let channel = harness.channel(&running, "account");
    assert_eq!(ask(&channel, "x").await.unwrap(), "account > ledger");
    assert!(running.shutdown().await.is_clean());
    assert!(other.shutdown().await.is_clean());
}

#[tokio::test]
async fn ports_follow_the_base_and_a_taken_one_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let harness = Harness::new("ports");
    let error = fails(bank(&harness, &Diary::default()).port_base(port))
        .await
        .to_string();
    assert!(
        error.starts_with(&format!("ledger cannot listen on 127.0.0.1:{port}: ")),
        "{error}"
    );
}

#[tokio::test]
async fn metrics_of_service_process_and_store_are_on_one_page() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let harness = Harness::new("metrics");
    let running = bank(&harness, &Diary::default()).start().await.unwrap();
    let channel = harness.channel(&running, "ledger");
    ask(&channel, "x").await.unwrap();
    let mut stream = tokio::net::TcpStream::connect(running.addresses()["ledger"])
        .await
        .unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    for name in [
        "lombard_rpc_calls_total{",
        "lombard_rpc_call_duration_seconds_bucket{",
        "lombard_tasks 1",
        "lombard_store_rows_absent_total 0",
        "lombard_process_resident_memory_bytes ",
    ] {
        assert!(page.contains(name), "{name} is not on the page:\n{page}");
    }
    assert!(running.shutdown().await.is_clean());
}
