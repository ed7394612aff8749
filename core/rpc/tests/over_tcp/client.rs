//! The client stack over real TCP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::stand::{channel, client, get, random, start};
use connectrpc::{Router, Spec, StreamType, handler_fn};
use lombard_contracts::bank::customer::v1::__buffa::view::GetCustomerResponseView;
use lombard_contracts::bank::customer::v1::{GetCustomerRequest, GetCustomerResponse};
use lombard_rpc::client::{ChannelOptions, HttpVersion};
use lombard_rpc::context::{self, CallContext};
use lombard_rpc::server::{Server, ServerOptions};
use lombard_rpc::{Code, Error, dynamic, reason};
use lombard_telemetry::Registry;
use lombard_telemetry::trace::TraceContext;

/// Retries soon.
fn patient(http_version: HttpVersion) -> ChannelOptions {
    ChannelOptions {
        http_version,
        backoff_first_ms: 1,
        ..ChannelOptions::default()
    }
}

/// What holds over both versions of HTTP is tested over both.
async fn over_both(test: impl AsyncFn(HttpVersion)) {
    for http_version in [HttpVersion::Http1, HttpVersion::Http2] {
        println!("{http_version:?}");
        test(http_version).await;
    }
}

#[tokio::test]
async fn what_may_be_repeated_is_tried_again() {
    over_both(async |http| {
        let server = start(ServerOptions::default()).await;
        let client = client(&channel(&[server.address], patient(http)));
        server.stand.failures_left.store(2, Ordering::SeqCst);
        assert_eq!(
            get(&client, "fail-unavailable").await.unwrap(),
            "fail-unavailable"
        );
        assert_eq!(server.stand.calls.load(Ordering::SeqCst), 3);

        server.stand.failures_left.store(100, Ordering::SeqCst);
        let error = get(&client, "fail-unavailable").await.unwrap_err();
        assert_eq!(error.reason, "NOT_NOW");
        assert_eq!(server.stand.calls.load(Ordering::SeqCst), 3 + 4);

        let error = get(&client, "fail-precondition").await.unwrap_err();
        assert_eq!(error.reason, "NEVER");
        assert_eq!(server.stand.calls.load(Ordering::SeqCst), 3 + 4 + 1);
    })
    .await;
}

#[tokio::test]
async fn retries_stop_when_the_budget_is_spent() {
    over_both(async |http| {
        let server = start(ServerOptions::default()).await;
        let options = ChannelOptions {
            retry_burst: 5,
            retry_percent: 0,
            ..patient(http)
        };
        let client = client(&channel(&[server.address], options));
        server.stand.failures_left.store(1_000, Ordering::SeqCst);
        for _ in 0..10 {
            get(&client, "fail-unavailable").await.unwrap_err();
        }
        assert_eq!(server.stand.calls.load(Ordering::SeqCst), 10 + 5);
    })
    .await;
}

#[tokio::test]
async fn what_must_not_be_repeated_is_not() {
    over_both(async |http| {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let handler = handler_fn(move |_ctx, _request: GetCustomerRequest| {
            counted.fetch_add(1, Ordering::SeqCst);
            async {
                Err::<connectrpc::Response<GetCustomerResponse>, _>(
                    Error::unavailable("NOT_NOW", "later").into(),
                )
            }
        });
        let router = Router::new().route("test.v1.Once", "Do", handler);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serving = Server::new(
            "once",
            router,
            ServerOptions::default(),
            Registry::new(&[]),
            random(),
        )
        .serve(listener)
        .unwrap();
        let channel = channel(&[serving.address()], patient(http));
        let answer = connectrpc::client::call_unary::<_, _, GetCustomerResponseView<'static>>(
            &channel,
            &channel.config(),
            Spec::client("/test.v1.Once/Do", StreamType::Unary),
            GetCustomerRequest::default(),
            Default::default(),
        )
        .await;
        assert_eq!(Error::from_connect(&answer.unwrap_err()).reason, "NOT_NOW");
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    })
    .await;
}

#[tokio::test]
async fn addresses_take_turns_and_a_dead_one_is_passed_over() {
    over_both(async |http| {
        let one = start(ServerOptions::default()).await;
        let two = start(ServerOptions::default()).await;
        let live = client(&channel(&[one.address, two.address], patient(http)));
        for _ in 0..20 {
            get(&live, "a").await.unwrap();
        }
        assert_eq!(one.stand.calls.load(Ordering::SeqCst), 10);
        assert_eq!(two.stand.calls.load(Ordering::SeqCst), 10);

        let dead = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let half = client(&channel(&[dead, one.address], patient(http)));
        for _ in 0..20 {
            get(&half, "a").await.unwrap();
        }
        let gone = client(&channel(&[dead], patient(http)));
        let error = get(&gone, "a").await.unwrap_err();
        assert_eq!(
            (error.code, &*error.reason),
            (Code::Unavailable, reason::UNREACHABLE)
        );
        assert_eq!(error.metadata["address"], dead.to_string());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_came_back_is_found_again() {
    over_both(async |http| {
        let server = start(ServerOptions::default()).await;
        let channel = channel(
            &[server.address],
            ChannelOptions {
                attempts_max: 10,
                backoff_first_ms: 20,
                ..patient(http)
            },
        );
        let client = client(&channel);
        get(&client, "before").await.unwrap();
        let address = server.address;
        drop(server);
        let waiting = tokio::spawn(async move { get(&client, "after").await });
        tokio::time::sleep(Duration::from_millis(30)).await;
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let stand = Arc::new(crate::stand::Stand::default());
        let router = lombard_contracts::bank::customer::v1::CustomerServiceExt::register(
            stand,
            Router::new(),
        );
        let _serving = Server::new(
            "stand",
            router,
            ServerOptions::default(),
            Registry::new(&[]),
            random(),
        )
        .serve(listener)
        .unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), "after");
    })
    .await;
}

#[tokio::test]
async fn trace_caller_and_deadline_travel_with_the_call() {
    over_both(async |http| {
        let first = start(ServerOptions::default()).await;
        let last = start(ServerOptions::default()).await;
        *first.stand.next.lock().unwrap() = Some(channel(&[last.address], patient(http)));
        let channel = channel(&[first.address], patient(http));
        let client = client(&channel);

        let trace = TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        let call = CallContext {
            trace,
            deadline: Some(deadline),
            service: "origin",
            caller: None,
        };
        context::scope(call, get(&client, "forward")).await.unwrap();
        let at_first = first.stand.seen.lock().unwrap().take().unwrap();
        let at_last = last.stand.seen.lock().unwrap().take().unwrap();
        for seen in [&at_first, &at_last] {
            assert_eq!(seen.trace.trace_id, trace.trace_id);
            assert!(seen.trace.sampled);
            assert_eq!(seen.caller(), "test");
            // The wire has whole milliseconds; the way there takes a little.
            let late = seen.deadline.unwrap().saturating_duration_since(deadline);
            assert!(late < Duration::from_millis(100), "{late:?}");
            let early = deadline.saturating_duration_since(seen.deadline.unwrap());
            assert!(early < Duration::from_millis(500), "{early:?}");
        }
        assert_ne!(at_first.trace.span_id, at_last.trace.span_id);

        get(&client, "a").await.unwrap();
        let seen = first.stand.seen.lock().unwrap().take().unwrap();
        assert_ne!(seen.trace.trace_id, trace.trace_id);
    })
    .await;
}

#[tokio::test]
async fn a_callee_gets_no_more_time_than_its_caller_has() {
    over_both(async |http| {
        let first = start(ServerOptions::default()).await;
        let last = start(ServerOptions::default()).await;
        *first.stand.next.lock().unwrap() = Some(channel(&[last.address], patient(http)));
        let channel = channel(
            &[first.address],
            ChannelOptions {
                timeout_default_ms: 60,
                attempts_max: 1,
                ..patient(http)
            },
        );
        let started = Instant::now();
        let error = get(&client(&channel), "forward-hang").await.unwrap_err();
        assert_eq!(
            (error.code, &*error.reason),
            (Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED)
        );
        assert!(started.elapsed() < Duration::from_secs(5));
        let seen = last.stand.seen.lock().unwrap().take().unwrap();
        assert!(seen.deadline.unwrap() <= started + Duration::from_millis(160));
        // The last server gives up too, though its caller is gone.
        while last.serving.calls_in_progress() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(started.elapsed() < Duration::from_secs(5));
        }

        let over = CallContext {
            trace: TraceContext::new(|| 1),
            deadline: Some(started),
            service: "origin",
            caller: None,
        };
        let calls = first.stand.calls.load(Ordering::SeqCst);
        let error = context::scope(over, get(&client(&channel), "a"))
            .await
            .unwrap_err();
        assert_eq!(error.reason, reason::DEADLINE_EXCEEDED);
        assert_eq!(first.stand.calls.load(Ordering::SeqCst), calls);
    })
    .await;
}

#[tokio::test]
async fn any_method_can_be_called_by_name_with_json() {
    over_both(async |http| {
        let server = start(ServerOptions::default()).await;
        let channel = channel(&[server.address], patient(http));
        let (_, method) = dynamic::find("customer", "getcustomer").unwrap();
        let answer = dynamic::call(&channel, method, r#"{"id":"dora"}"#.to_owned())
            .await
            .unwrap();
        assert_eq!(answer, r#"{"customer":{"id":"dora"}}"#);
        let error = dynamic::call(&channel, method, r#"{"id":"refuse"}"#.to_owned())
            .await
            .unwrap_err();
        assert_eq!(error.reason, "FLOOR_BROKEN");
        let error = dynamic::call(&channel, method, r#"{"x":1}"#.to_owned())
            .await
            .unwrap_err();
        assert_eq!(error.reason, reason::UNKNOWN_FIELD);
        assert_eq!(
            dynamic::find("CustomerService", "GetCustomer")
                .unwrap()
                .1
                .path,
            method.path
        );
        let error = dynamic::find("custmer", "x").unwrap_err();
        assert!(error.message.contains("customer"), "{error}");
        let error = dynamic::find("customer", "x").unwrap_err();
        assert!(error.message.contains("GetCustomer"), "{error}");
    })
    .await;
}
