//! What is no request: a typed error with its reason, and nothing is changed.

use serde_json::json;

use crate::http::Connection;
use crate::ledger::{entry, id, path};
use crate::town::Town;

/// A body of any bytes and headers to `CreateEntry`.
fn raw(town: &mut Town, headers: &[(&str, &str)], body: &[u8], code: &str, reason: &str) {
    let before = town.state();
    // A server may close a connection after such a request: each gets its own.
    let mut connection = Connection::open(town.bank.address("ledger")).unwrap();
    let refused = connection
        .post(&path("CreateEntry"), headers, body)
        .unwrap()
        .refused();
    let told = String::from_utf8_lossy(body.get(..200.min(body.len())).unwrap()).into_owned();
    assert_eq!(
        (refused.code.as_str(), refused.reason.as_str()),
        (code, reason),
        "{refused:?} to {headers:?} {told}"
    );
    assert_eq!(town.state(), before);
}

#[test]
fn what_is_no_request_at_all_is_refused_with_its_reason() {
    let mut town = Town::new();
    let json_body = [("content-type", "application/json")];
    let good = json!({"entry": entry(&id(), &[("alice", -5), ("bob", 5)])}).to_string();

    for body in [
        "no json",
        "{",
        "null",
        "\"text\"",
        "{\"entry\":5}",
        "{} {}",
        "{\"entry\":{\"legs\":{}}}",
    ] {
        raw(
            &mut town,
            &json_body,
            body.as_bytes(),
            "invalid_argument",
            "MALFORMED_REQUEST",
        );
    }
    raw(
        &mut town,
        &json_body,
        "[".repeat(100_000).as_bytes(),
        "invalid_argument",
        "MALFORMED_REQUEST",
    );
    raw(
        &mut town,
        &json_body,
        b"{\"entry\":{\"id\":\"\xff\xfe\"}}",
        "invalid_argument",
        "INVALID_UTF8",
    );
    let unknown = good.replace("\"actor\"", "\"actr\"");
    raw(
        &mut town,
        &json_body,
        unknown.as_bytes(),
        "invalid_argument",
        "UNKNOWN_FIELD",
    );
    let large = format!(
        "{{\"entry\":{{\"reference\":\"{}\"}}}}",
        "x".repeat(5 << 20)
    );
    raw(
        &mut town,
        &json_body,
        large.as_bytes(),
        "resource_exhausted",
        "REQUEST_TOO_LARGE",
    );

    let late = [
        ("content-type", "application/json"),
        ("connect-timeout-ms", "0"),
    ];
    raw(
        &mut town,
        &late,
        good.as_bytes(),
        "deadline_exceeded",
        "DEADLINE_EXCEEDED",
    );

    // Protobuf: a field of the wrong kind, a length beyond the end, text that is none.
    let proto = [("content-type", "application/proto")];
    for body in [
        &b"\x0a\xff\xff\xff\xff\x0f"[..],
        b"\x0a\x7f",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        raw(
            &mut town,
            &proto,
            body,
            "invalid_argument",
            "MALFORMED_REQUEST",
        );
    }
    raw(
        &mut town,
        &proto,
        b"\x0a\x04\x0a\x02\xff\xfe",
        "invalid_argument",
        "INVALID_UTF8",
    );
    town.bank.check();
}

#[test]
fn a_way_in_that_does_not_exist_is_said_so() {
    let mut town = Town::new();
    let address = town.bank.address("ledger").to_owned();
    let request = |method: &str, path: &str, content_type: &str| {
        let mut connection = Connection::open(&address).unwrap();
        let answer = connection
            .request(method, path, &[("content-type", content_type)], b"{}")
            .unwrap();
        (answer.status, answer.refused())
    };
    let (status, refused) = request("POST", &path("CreateEntri"), "application/json");
    assert_eq!(
        (status, refused.reason.as_str()),
        (404, "UNKNOWN_METHOD"),
        "{refused:?}"
    );
    let (_, refused) = request("POST", "/nowhere.v1.Nothing/Do", "application/json");
    assert_eq!(refused.reason, "UNKNOWN_METHOD", "{refused:?}");
    let (status, refused) = request("POST", &path("CreateEntry"), "text/plain");
    assert_eq!(
        (status, refused.reason.as_str()),
        (415, "UNSUPPORTED_PROTOCOL"),
        "{refused:?}"
    );
    let (status, refused) = request("PUT", &path("CreateEntry"), "application/json");
    assert_eq!(
        (status, refused.reason.as_str()),
        (405, "UNSUPPORTED_PROTOCOL"),
        "{refused:?}"
    );

    // What is not HTTP ends that connection and nothing else.
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
    ] {
        let mut connection = Connection::open(&address).unwrap();
        connection.send_raw(noise).unwrap();
        let answer = connection.read_answer();
        assert!(
            answer.as_ref().map_or(true, |answer| answer.status == 400),
            "{answer:?}"
        );
    }
    town.ledger.post(&[("funder", -1), ("alice", 1)]);
    town.bank.check();
}
