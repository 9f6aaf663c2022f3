//! What is below a WebSocket's messages: the handshake, pings, and how it closes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::support::client::ask::Ask;
use super::support::client::link::{Call, Connection};
use super::support::client::message::End;
use super::support::client::websocket::WebSocket;
use super::support::client::{Framing, Reader, Transport};
use super::support::server::{PATIENCE, Server};
use super::{Row, checks, run};

#[test]
fn a_websocket_opens_and_closes_by_the_rules() {
    let server = Server::start(&[]);
    run(
        &server,
        Transport::with(Framing::WebSocket),
        &checks![
            subprotocols,
            a_ping_is_answered,
            a_close_is_answered,
            what_is_against_the_protocol_closes,
            a_request_that_is_no_handshake,
        ],
    );
}

#[test]
fn a_websocket_that_does_not_answer_is_closed() {
    let server = Server::start(&["--ping", "100ms", "--pong", "300ms"]);
    run(
        &server,
        Transport::with(Framing::WebSocket),
        &checks![no_pong, pongs],
    );
}

async fn open(row: &Row) -> Reader {
    let ask = Ask::of([row.topic("t")]);
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    reader
}

async fn subprotocols(row: Row) {
    for (offered, answer) in [
        (None, Ok(None)),
        (Some("triwire.v1.json"), Ok(Some("triwire.v1.json"))),
        (Some("mqtt, triwire.v1.json"), Ok(Some("triwire.v1.json"))),
        (Some("mqtt"), Err(400)),
        (Some("mqtt, TRIWIRE.V1.JSON"), Err(400)),
    ] {
        let mut call = Call::get("/ws");
        if let Some(offered) = offered {
            call = call.with("sec-websocket-protocol", offered);
        }
        let opened = WebSocket::open(&row.target, row.transport.link, call).await;
        let got = opened
            .as_ref()
            .map(|(socket, _)| socket.subprotocol.as_deref())
            .map_err(|status| status.as_u16());
        assert_eq!(got, answer, "{offered:?}");
    }
}

async fn a_ping_is_answered(row: Row) {
    let mut reader = open(&row).await;
    let socket = reader.websocket();
    socket.send(Frame::Ping("are you there?".into())).await;
    let frame = socket.frame().await;
    assert_eq!(frame, Ok(Frame::Pong("are you there?".into())));
}

async fn a_close_is_answered(row: Row) {
    let mut reader = open(&row).await;
    let frame = CloseFrame {
        code: 1000.into(),
        reason: "bye".into(),
    };
    reader.websocket().send(Frame::Close(Some(frame))).await;
    match reader.end().await {
        End::Close(1000, _) => {}
        other => panic!("{other:?}"),
    }
}

/// Frames from a client have a mask, here of noughts: bytes that tungstenite would not send.
async fn what_is_against_the_protocol_closes(row: Row) {
    let masked = |first: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("short");
        [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
    };
    // A text of 2 MiB, announced: more than six times the largest event and 4 KiB.
    let large = [&[0x81, 0xff][..], &(2u64 << 20).to_be_bytes(), &[0; 4]].concat();
    let table = [
        ("an unmasked frame", vec![0x81, 0x02, b'{', b'}'], 1002),
        ("a reserved opcode", masked(0x83, b"{}"), 1002),
        ("a reserved bit", masked(0xc1, b"{}"), 1002),
        ("a continuation of nothing", masked(0x80, b"{}"), 1002),
        ("a ping in pieces", masked(0x09, b""), 1002),
        ("binary", masked(0x82, b"{}"), 1003),
        ("text that is not UTF-8", masked(0x81, b"\"\xff\""), 1007),
        ("a message that is too large", large, 1009),
    ];
    for (what, bytes, code) in table {
        let mut reader = open(&row).await;
        let raw = reader.websocket().raw();
        raw.write_all(&bytes).await.expect("it can be sent");
        // The server may have had enough, and ended the stream, before this returns.
        let _ = raw.flush().await;
        match reader.end().await {
            End::Close(got, reason) if got == code => assert!(!reason.is_empty(), "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

async fn a_request_that_is_no_handshake(row: Row) {
    let link = row.transport.link;
    let mut connection = Connection::open(&row.target, link).await;
    let answer = connection.send(Call::get("/ws")).await.expect("an answer");
    assert_eq!(answer.status(), 426);
    if link.is_http2() {
        return;
    }
    let handshake = |version: &str, key: &str| {
        Call::get("/ws")
            .with("connection", "keep-alive, Upgrade")
            .with("upgrade", "WebSocket")
            .with("sec-websocket-version", version)
            .with("sec-websocket-key", key)
    };
    let good = "dGhlIHNhbXBsZSBub25jZQ==";
    for (version, key, status) in [
        ("13", good, 101),
        ("12", good, 426),
        ("13", "short", 400),
        ("13", "", 400),
    ] {
        let mut connection = Connection::open(&row.target, link).await;
        let call = handshake(version, key);
        let answer = connection.send(call).await.expect("an answer");
        assert_eq!(answer.status(), status, "{version} {key}");
        if status == 426 {
            assert_eq!(answer.headers()["sec-websocket-version"], "13");
        }
        if status == 101 {
            // The example of RFC 6455, 1.3.
            let accept = &answer.headers()["sec-websocket-accept"];
            assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        }
    }
}

/// Read below tungstenite, which would answer the pings.
async fn no_pong(row: Row) {
    let mut reader = open(&row).await;
    let raw = reader.websocket().raw();
    let closed = async {
        loop {
            let (kind, length) = (raw.read_u8().await?, raw.read_u8().await?);
            let mut payload = vec![0; length.into()];
            raw.read_exact(&mut payload).await?;
            match kind {
                0x88 => return Ok::<_, std::io::Error>(payload),
                0x89 => {}
                other => panic!("a frame of kind {other:#x}"),
            }
        }
    };
    let payload = tokio::time::timeout(PATIENCE, closed).await;
    let payload = payload.expect("in time").expect("a close");
    assert_eq!(payload[..2], 1011u16.to_be_bytes());
}

async fn pongs(mut row: Row) {
    let mut reader = open(&row).await;
    for _ in 0..6 {
        let frame = reader.websocket().frame().await;
        assert!(matches!(frame, Ok(Frame::Ping(_))), "{frame:?}");
    }
    let id = row.publisher.text(&row.topic("t"), "still here").await;
    assert_eq!(reader.event().await.id, id);
}
