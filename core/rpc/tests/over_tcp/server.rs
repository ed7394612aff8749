//! The server stack over real TCP.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::stand::{GET_CUSTOMER, channel, client, exchange, get, post, start};
use lombard_rpc::client::{ChannelOptions, HttpVersion};
use lombard_rpc::server::ServerOptions;
use lombard_rpc::{Code, reason};

#[tokio::test]
async fn plain_json_is_answered() {
    let server = start(ServerOptions::default()).await;
    let answer = post(server.address, GET_CUSTOMER, r#"{"id":"alice"}"#).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["customer"]["id"], "alice");
    assert!(answer.head.contains("content-length: "), "{}", answer.head);
}

#[tokio::test]
async fn a_refusal_shows_its_reason_and_figures() {
    let server = start(ServerOptions::default()).await;
    let answer = post(server.address, GET_CUSTOMER, r#"{"id":"refuse"}"#).await;
    assert_eq!(answer.status, 400);
    let error = answer.json();
    assert_eq!(error["code"], "failed_precondition");
    assert_eq!(error["message"], "FLOOR_BROKEN: not enough");
    assert_eq!(error["details"][0]["type"], "rpc.v1.ErrorInfo");
    let detail = answer.detail();
    assert_eq!(detail["reason"], "FLOOR_BROKEN");
    assert_eq!(detail["domain"], "stand");
    assert_eq!(detail["metadata"]["available_minor"], "100");

    let channel = channel(&[server.address], ChannelOptions::default());
    let error = get(&client(&channel), "refuse").await.unwrap_err();
    assert_eq!(error.code, Code::FailedPrecondition);
    assert_eq!(error.reason, "FLOOR_BROKEN");
    assert_eq!(error.message, "not enough");
    assert_eq!(error.metadata["available_minor"], "100");
    assert_eq!(error.domain, "stand");
    assert!(!error.retryable);

    let error = get(&client(&channel), "untyped").await.unwrap_err();
    assert_eq!((error.code, &*error.reason), (Code::NotFound, "NOT_FOUND"));
}

#[tokio::test]
async fn bad_requests_are_typed_and_do_not_reach_the_handler() {
    let server = start(ServerOptions {
        max_request_bytes: 10_000,
        ..ServerOptions::default()
    })
    .await;
    let large = format!(r#"{{"id":"{}"}}"#, "x".repeat(50_000));
    let table: [(&str, &[u8], u16, &str, &str); 7] = [
        (
            GET_CUSTOMER,
            b"not json",
            400,
            "invalid_argument",
            reason::MALFORMED_REQUEST,
        ),
        (
            GET_CUSTOMER,
            b"",
            400,
            "invalid_argument",
            reason::MALFORMED_REQUEST,
        ),
        (
            GET_CUSTOMER,
            br#"{"id":5}"#,
            400,
            "invalid_argument",
            reason::MALFORMED_REQUEST,
        ),
        (
            GET_CUSTOMER,
            br#"{"idd":"a"}"#,
            400,
            "invalid_argument",
            reason::UNKNOWN_FIELD,
        ),
        (
            GET_CUSTOMER,
            b"{\"id\":\"\xff\xfe\"}",
            400,
            "invalid_argument",
            reason::INVALID_UTF8,
        ),
        (
            GET_CUSTOMER,
            large.as_bytes(),
            429,
            "resource_exhausted",
            reason::REQUEST_TOO_LARGE,
        ),
        (
            "/no.such.Service/Call",
            b"{}",
            404,
            "unimplemented",
            reason::UNKNOWN_METHOD,
        ),
    ];
    for (path, body, status, code, reason) in table {
        let answer = post(server.address, path, body).await;
        let shown = body.escape_ascii().to_string();
        assert_eq!(answer.status, status, "{shown} {}", answer.body);
        assert_eq!(answer.json()["code"], code, "{shown}");
        let detail = answer.detail();
        assert_eq!(detail["reason"], reason, "{shown} {}", answer.body);
        assert_eq!(detail["domain"], "stand", "{shown}");
    }
    assert_eq!(server.stand.calls.load(Ordering::SeqCst), 0);

    let answer = post(server.address, GET_CUSTOMER, br#"{"idd":"a"}"#).await;
    assert_eq!(answer.detail()["metadata"]["field"], "idd");
    let answer = post(server.address, GET_CUSTOMER, large).await;
    assert_eq!(answer.detail()["metadata"]["limit_bytes"], "10000");
    assert_eq!(answer.detail()["retryable"], serde_json::Value::Null);

    let plain = [("content-type", "text/plain")];
    let answer = exchange(server.address, "POST", GET_CUSTOMER, &plain, b"{}").await;
    assert_eq!(answer.status, 415);
    assert_eq!(answer.detail()["reason"], reason::UNSUPPORTED_PROTOCOL);
    assert!(answer.head.contains("accept-post: "), "{}", answer.head);
    let answer = exchange(server.address, "PUT", GET_CUSTOMER, &plain, b"{}").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.detail()["reason"], reason::UNSUPPORTED_PROTOCOL);

    let page = server.registry.encode();
    let counted = page.lines().any(|line| {
        line.starts_with("lombard_rpc_calls_total{")
            && line.contains("method=\"CustomerService/GetCustomer\"")
            && line.contains("code=\"resource_exhausted\"")
            && line.ends_with(" 2")
    });
    assert!(counted, "{page}");
}

#[tokio::test]
async fn a_panic_is_internal_with_an_id_and_the_server_lives() {
    let server = start(ServerOptions::default()).await;
    let channel = channel(&[server.address], ChannelOptions::default());
    let client = client(&channel);
    let error = get(&client, "panic").await.unwrap_err();
    assert_eq!((error.code, &*error.reason), (Code::Internal, "INTERNAL"));
    assert_eq!(error.metadata["id"].len(), 16);
    assert!(!error.message.contains("asked to"), "{}", error.message);
    assert!(!error.retryable);
    let other = get(&client, "panic").await.unwrap_err();
    assert_ne!(other.metadata["id"], error.metadata["id"]);

    let error = get(&client, "internal").await.unwrap_err();
    assert_eq!(&*error.reason, "BROKEN");
    assert_eq!(error.metadata["id"].len(), 16);

    assert_eq!(get(&client, "bob").await.unwrap(), "bob");
    let page = server.registry.encode();
    assert!(
        page.contains("lombard_rpc_panics_total{service=\"stand\"} 2"),
        "{page}"
    );
}

#[tokio::test]
async fn a_call_whose_time_is_over_is_refused_before_the_handler() {
    let server = start(ServerOptions::default()).await;
    let headers = [
        ("content-type", "application/json"),
        ("connect-timeout-ms", "0"),
    ];
    let body = br#"{"id":"a"}"#;
    let answer = exchange(server.address, "POST", GET_CUSTOMER, &headers, body).await;
    assert_eq!(answer.status, 504, "{}", answer.body);
    assert_eq!(answer.detail()["reason"], reason::DEADLINE_EXCEEDED);
    assert_eq!(server.stand.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn deadlines_end_calls_and_the_server_has_one_of_its_own() {
    let server = start(ServerOptions {
        default_timeout_ms: 40,
        max_timeout_ms: 80,
        ..ServerOptions::default()
    })
    .await;
    for (timeout, expected_ms) in [(None, 40), (Some("20"), 20), (Some("5000"), 80)] {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(timeout.map(|timeout| ("connect-timeout-ms", timeout)));
        let started = Instant::now();
        let body = br#"{"id":"hang"}"#;
        let answer = exchange(server.address, "POST", GET_CUSTOMER, &headers, body).await;
        assert_eq!(answer.status, 504, "{}", answer.body);
        assert_eq!(answer.detail()["reason"], reason::DEADLINE_EXCEEDED);
        assert!(started.elapsed() >= Duration::from_millis(expected_ms));
    }
    assert_eq!(server.serving.calls_in_progress(), 0);
}

#[tokio::test]
async fn more_calls_than_fit_are_shed_and_operators_still_see_in() {
    let server = start(ServerOptions {
        max_concurrent_calls: 2,
        ..ServerOptions::default()
    })
    .await;
    let channel = channel(
        &[server.address],
        ChannelOptions {
            attempts_max: 1,
            ..ChannelOptions::default()
        },
    );
    let client = client(&channel);
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { get(&client, "wait").await })
        })
        .collect();
    while server.stand.calls.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let error = get(&client, "one too many").await.unwrap_err();
    assert_eq!(error.code, Code::ResourceExhausted);
    assert_eq!(error.reason, reason::OVERLOADED);
    assert_eq!(error.domain, "stand");
    assert!(error.retryable);
    for path in ["/health", "/ready", "/metrics", "/"] {
        let answer = exchange(server.address, "GET", path, &[], b"").await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let page = exchange(server.address, "GET", "/metrics", &[], b"")
        .await
        .body;
    assert!(
        page.contains("lombard_rpc_calls_shed_total{service=\"stand\"} 1"),
        "{page}"
    );
    assert!(
        page.contains("lombard_rpc_calls_in_flight{service=\"stand\"} 2"),
        "{page}"
    );
    assert!(page.contains("# EOF"), "{page}");

    server.stand.gate.notify_waiters();
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap(), "wait");
    }
    assert_eq!(
        get(&client, "there is room").await.unwrap(),
        "there is room"
    );
}

#[tokio::test]
async fn a_call_of_grpc_has_the_same_errors() {
    let server = start(ServerOptions::default()).await;
    let options = ChannelOptions {
        http_version: HttpVersion::Http2,
        ..ChannelOptions::default()
    };
    let channel = channel(&[server.address], options);
    let config = channel.config().with_protocol(connectrpc::Protocol::Grpc);
    let client =
        lombard_contracts::bank::customer::v1::CustomerServiceClient::new(channel.clone(), config);
    assert_eq!(get(&client, "carol").await.unwrap(), "carol");
    let error = get(&client, "refuse").await.unwrap_err();
    assert_eq!(error.reason, "FLOOR_BROKEN");
    assert_eq!(error.metadata["available_minor"], "100");
}

#[tokio::test]
async fn the_descriptor_and_the_methods_are_served() {
    let server = start(ServerOptions::default()).await;
    let index = exchange(server.address, "GET", "/", &[], b"").await;
    assert!(index.body.contains(GET_CUSTOMER), "{}", index.body);
    let descriptor = exchange(server.address, "GET", "/descriptor.bin", &[], b"").await;
    let length = format!(
        "content-length: {}",
        lombard_contracts::DESCRIPTOR_SET.len()
    );
    assert!(descriptor.head.contains(&length), "{}", descriptor.head);
}
