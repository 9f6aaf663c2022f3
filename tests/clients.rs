//! The tests' own SSE parser is as strict as they rely on: a parser that took everything would prove nothing.

mod support;

use bytes::Bytes;
use support::client::message::{Data, Event, Id, Message};
use support::client::sse::parse;

const READY: &str =
    "id: 7-1\nevent: ready\nretry: 2000\ndata: {\"cursor\":\"7-1\",\"server\":\"s\"}\n\n";
const GAP: &str = "event: gap\ndata: {\"topic\":\"t\",\"reason\":\"expired\",\"after\":null,\"resumed_at\":\"7-0\",\"missed\":null}\n\n";
const BUSY: &str = "event: busy\nretry: 1000\ndata: {\"reason\":\"draining\",\"server\":\"s\"}\n\n";

fn body(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn what_the_contract_allows_is_read() {
    let text = format!(
        "{READY}{GAP}:hb\nid: 7-2\ndata: a\ndata: \ndata:  b\n\n:hb\n:hb\nid: 7-3\nevent: k\ndata: \n\n{BUSY}"
    );
    let event = |id, kind: &str, data: &str| {
        Message::Event(Event {
            id,
            topic: None,
            kind: kind.to_owned(),
            data: Data::Lines(data.to_owned()),
        })
    };
    let messages = parse(&body(&text)).expect("it is good");
    assert_eq!(messages.len(), 8);
    assert!(matches!(
        &messages[0],
        Message::Ready {
            cursor: Id(7, 1),
            ..
        }
    ));
    assert!(matches!(&messages[1], Message::Gap(gap) if gap.resumed_at == Id(7, 0)));
    assert_eq!(messages[3], event(Id(7, 2), "message", "a\n\n b"));
    assert_eq!(messages[6], event(Id(7, 3), "k", ""));
    assert!(matches!(&messages[7], Message::Busy { reason } if reason == "draining"));
}

#[test]
fn what_the_contract_forbids_is_refused() {
    let table = [
        ("a CR", "id: 7-1\r\ndata: x\r\n\r\n".to_owned()),
        ("a CR in data", "id: 7-1\ndata: x\ry\n\n".to_owned()),
        ("a NUL", "id: 7-1\ndata: \0\n\n".to_owned()),
        (
            "a byte order mark",
            "\u{feff}id: 7-1\ndata: x\n\n".to_owned(),
        ),
        ("no data", "id: 7-1\n\n".to_owned()),
        ("retry alone", "retry: 2000\n\n".to_owned()),
        ("an empty block", format!("{READY}\n")),
        ("a comment and a blank line", format!("{READY}:hb\n\n")),
        ("another comment", ": hello\n".to_owned()),
        ("a comment inside", "id: 7-1\n:hb\ndata: x\n\n".to_owned()),
        ("no blank after the colon", "id: 7-1\ndata:x\n\n".to_owned()),
        (
            "an unknown field",
            "id: 7-1\nfoo: x\ndata: x\n\n".to_owned(),
        ),
        ("a field without a value", "id: 7-1\ndata\n\n".to_owned()),
        ("two ids", "id: 7-1\nid: 7-2\ndata: x\n\n".to_owned()),
        ("an id after data", "data: x\nid: 7-1\n\n".to_owned()),
        ("an id that is none", "id: x\ndata: x\n\n".to_owned()),
        ("an id with a sign", "id: +7-1\ndata: x\n\n".to_owned()),
        (
            "message spelt out",
            "id: 7-1\nevent: message\ndata: x\n\n".to_owned(),
        ),
        (
            "a reserved name",
            "id: 7-1\nevent: open\ndata: x\n\n".to_owned(),
        ),
        ("an empty name", "id: 7-1\nevent: \ndata: x\n\n".to_owned()),
        (
            "retry in an event",
            "id: 7-1\nretry: 2000\ndata: x\n\n".to_owned(),
        ),
        ("a half block", "id: 7-1\ndata: x\n".to_owned()),
        ("a half line", "id: 7-1\ndata: x".to_owned()),
        ("ready too soon", READY.replace("2000", "1499")),
        ("ready too late", READY.replace("2000", "3001")),
        ("ready without retry", READY.replace("retry: 2000\n", "")),
        (
            "ready with two cursors",
            READY.replace("id: 7-1", "id: 7-2"),
        ),
        ("ready with more", READY.replace("\"}", "\",\"x\":1}")),
        ("a gap with less", GAP.replace(",\"missed\":null", "")),
        ("a gap for no reason", GAP.replace("expired", "other")),
        (
            "a gap that closes, and more",
            format!("id: 7-0\n{GAP}{GAP}"),
        ),
        ("busy with an id", format!("id: 7-0\n{BUSY}")),
        ("busy for ever", BUSY.replace("1000", "10001")),
        ("more after busy", format!("{BUSY}:hb\n")),
    ];
    for (what, text) in table {
        let parsed = parse(&body(&text));
        assert!(parsed.is_err(), "{what}: {parsed:?}");
    }
    assert!(parse(&Bytes::from_static(b"id: 7-1\ndata: \xff\n\n")).is_err());
    // What is in no log is never taken for an event of it.
    let parsed = parse(&body("data: x\n\n")).expect("a present result");
    assert!(matches!(*parsed, [Message::Present(_)]), "{parsed:?}");
}
