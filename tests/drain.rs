//! The end that was asked for: a thousand readers are let go, each in its wire's own words, and who does not go is
//! cut in time.

mod support;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::client::ask::Ask;
use support::client::frames::GOAWAY;
use support::client::link::{Call, Connection, Link, Target};
use support::client::message::{End, Id, Message};
use support::client::poll::{Answer, poll};
use support::client::publisher::Publisher;
use support::client::sse;
use support::client::{Framing, Reader, Refused, Transport};
use support::server::{BINARY, LISTENERS, Server, new_dir, signal};

use http_body_util::BodyExt;
use tokio::task::JoinHandle;

/// Readers a wire.
const EACH: usize = 250;
const STREAMS: usize = 50;
/// Bytes of an event that is as large as one may be, nearly.
const EVENT: usize = 255 * 1024;

#[test]
fn a_server_that_waits_for_its_relay_has_nobody_to_let_go() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let relay = format!("redis://{}", nobody.expect("a free port"));
    let mut command = Command::new(BINARY);
    command.args(["serve", "--relay", &relay, "--certs"]);
    command.arg(new_dir());
    command.args(LISTENERS.map(|name| format!("--{name}=127.0.0.1:0")));
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("it is tried again")));
    signal(child.id(), "TERM");
    let ended = child.wait().expect("it can be waited for");
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn who_reads_the_log_may_go_first() {
    let mut command = Command::new(BINARY);
    command.args(["serve", "--drain", "1s", "--certs"]);
    command.arg(new_dir());
    command.args(LISTENERS.map(|name| format!("--{name}=127.0.0.1:0")));
    let pipes = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("it starts");
    drop(child.stderr.take());
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut ready = String::new();
    stdout.read_line(&mut ready).expect("it can be read");
    assert!(ready.contains("is ready"), "{ready}");
    // What it says of that, nobody reads.
    signal(child.id(), "TERM");
    let ended = child.wait().expect("it can be waited for");
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_are_let_go() {
    let mut server = Server::start(&["--drain", "60s"]);
    let target = Target::of(&server);
    let mut publisher = Publisher::new(&target).await;
    let start = publisher.text("drain/start", "x").await;

    let http1 = [
        Link::Http1,
        Link::Http1s,
        Link::Ws,
        Link::Wss,
        Link::H2cUpgrade,
    ];
    let sse = singles(&target, Framing::Sse, &http1).await;
    let websockets = singles(
        &target,
        Framing::WebSocket,
        &[Link::Ws, Link::Wss, Link::H2c, Link::Http2, Link::Http1],
    )
    .await;
    let (connections, streams) = shared(&target).await;
    let polls = held(&target, start).await;
    server.until("a thousand readers", |stats| {
        let streams = |wire: &str| stats["wires"][wire]["streams"].as_u64().unwrap_or(0);
        let all = [
            "sse_http1",
            "sse_http2",
            "websocket",
            "websocket_http2",
            "long_poll",
        ];
        all.map(streams).iter().sum::<u64>() == 4 * EACH as u64
    });
    // Something is always on its way, up to the end.
    let flood = tokio::spawn(flood(Publisher::new(&target).await));
    server.until("events are on their way", |stats| {
        let sent = |wire: &str| stats["wires"][wire]["events_sent"].as_u64().unwrap_or(0);
        ["sse_http1", "sse_http2", "websocket", "websocket_http2"]
            .iter()
            .all(|wire| sent(wire) > EACH as u64)
    });

    let begin = Instant::now();
    server.signal("TERM");
    for reader in sse.into_iter().chain(streams) {
        let (mut reader, last) = read_to_the_end(reader).await;
        let reason = "draining".to_owned();
        assert_eq!(last, Message::Busy { reason });
        assert_eq!(reader.end().await, End::Body);
    }
    for connection in connections {
        connection.seen.until(GOAWAY).await;
    }
    for reader in websockets {
        let (reader, last) = read_to_the_end(reader).await;
        let Message::End(End::Close(1001, reason)) = last else {
            panic!("a WebSocket ends so: {last:?}");
        };
        assert!(!reason.is_empty());
        if let Some(connection) = reader.connection() {
            connection.seen.until(GOAWAY).await;
        }
    }
    for held in polls {
        let answer = held
            .await
            .expect("no panic")
            .expect("a held poll is answered");
        assert!(answer.events.is_empty() && answer.gaps.is_empty());
        assert!(answer.cursor >= start);
    }
    flood.await.expect("it ends by the server");
    let status = tokio::task::spawn_blocking(move || server.wait()).await;
    assert_eq!(status.expect("no panic").code(), Some(0));
    assert!(
        begin.elapsed() < Duration::from_secs(30),
        "{:?}",
        begin.elapsed()
    );
}

/// Readers with a connection each.
async fn singles(target: &Target, framing: Framing, links: &[Link]) -> Vec<Reader> {
    let mut readers = Vec::new();
    for link in links.iter().cycle().take(EACH) {
        let transport = Transport {
            framing,
            link: *link,
        };
        let mut reader = transport.open(target, Ask::of(["drain/flood"])).await;
        reader.ready().await;
        readers.push(reader);
    }
    readers
}

/// SSE on HTTP/2, many streams a connection.
async fn shared(target: &Target) -> (Vec<Connection>, Vec<Reader>) {
    let (mut connections, mut readers) = (Vec::new(), Vec::new());
    for n in 0..EACH / STREAMS {
        let link = [Link::H2c, Link::Http2][n % 2];
        let mut connection = Connection::open(target, link).await;
        for _ in 0..STREAMS {
            let ask = Ask::of(["drain/flood"]);
            let mut reader = Reader::sse_on(&mut connection, &ask).await;
            reader.ready().await;
            readers.push(reader);
        }
        connections.push(connection);
    }
    (connections, readers)
}

type Held = JoinHandle<Result<Answer, Refused>>;

/// Polls that are held: nothing happens on their topic.
async fn held(target: &Target, cursor: Id) -> Vec<Held> {
    let mut polls = Vec::new();
    for n in 0..EACH {
        let link = Link::ALL[n % Link::ALL.len()];
        let mut connection = Connection::open(target, link).await;
        let ask = Ask::of(["drain/quiet"]).after(cursor).timeout(60);
        polls.push(tokio::spawn(
            async move { poll(&mut connection, &ask).await },
        ));
    }
    polls
}

/// Publishes until the server takes no more.
async fn flood(mut publisher: Publisher) {
    loop {
        let call = Call::post("/publish/drain/flood", "x".repeat(100));
        match publisher.try_call(call).await {
            Ok(answer) if answer.status == 201 => {}
            Ok(answer) => {
                assert_eq!(answer.status, 503);
                return;
            }
            // Closed after its last answer.
            Err(_) => return,
        }
    }
}

/// Past the events, which arrive whole: what comes last.
async fn read_to_the_end(mut reader: Reader) -> (Reader, Message) {
    loop {
        match reader.next().await {
            Message::Event(_) | Message::Heartbeat => {}
            last => return (reader, last),
        }
    }
}

/// A reader that takes nothing holds the drain open; whoever comes meanwhile is told, and the limit holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_reader_holds_the_drain_open_and_no_longer() {
    let mut server = Server::start(&["--drain", "3s", "--http1-unsent", "16KiB"]);
    let target = Target::of(&server);
    let stuck = stuck(&target).await;
    let begin = Instant::now();
    server.signal("TERM");
    until_draining(&target).await;
    for link in Link::ALL {
        newcomers_are_told(&target, link).await;
    }
    let status = tokio::task::spawn_blocking(move || (server.wait(), server)).await;
    let (status, server) = status.expect("no panic");
    let took = begin.elapsed();
    assert_eq!(status.code(), Some(0), "{}", server.stderr());
    assert!(
        (Duration::from_secs(3)..Duration::from_secs(8)).contains(&took),
        "{took:?}"
    );
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&["--drain", "10min", "--http1-unsent", "16KiB"]);
    let target = Target::of(&server);
    let stuck = stuck(&target).await;
    server.signal("TERM");
    until_draining(&target).await;
    server.signal("INT");
    let status = tokio::task::spawn_blocking(move || server.wait()).await;
    assert_eq!(status.expect("no panic").code(), Some(0));
    drop(stuck);
}

/// Whoever had only just connected carries nothing, and is not waited for: neither one that has said nothing yet (it
/// is answered if it asks in time), nor one that was in the middle of its handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_only_just_come_does_not_hold_the_drain() {
    let mut server = Server::start(&["--drain", "10min", "--request-head", "10min"]);
    let target = Target::of(&server);
    let mut silent = Vec::new();
    for link in Link::ALL {
        silent.push((link, link.dial(&target).await.expect("it listens")));
    }
    let (tcp, valve) = Link::Http2.dial(&target).await.expect("it listens");
    valve.close();
    let shaking = tokio::spawn({
        let target = target.clone();
        async move { Link::Http2.secure(&target, tcp).await }
    });
    // The server has its hello, and waits for an answer.
    server.until("all are there", |stats| {
        let listener = |name: &str| stats["listeners"][name]["connections"].as_u64();
        listener("http2") == Some(2) && stats["listeners"]["http2"]["bytes_in"] != 0
    });
    server.signal("TERM");
    until_draining(&target).await;
    let (link, (tcp, asks)) = silent.swap_remove(0);
    let mut connection = Connection::on(&target, link, Box::new(tcp), asks).await;
    let answer = connection.send(Call::get("/readyz")).await;
    assert_eq!(answer.expect("an answer").status(), 503);
    valve.open();
    let tls = shaking.await.expect("no panic");
    let connection = Connection::on(&target, Link::Http2, tls, valve).await;
    let status = tokio::task::spawn_blocking(move || server.wait()).await;
    assert_eq!(status.expect("no panic").code(), Some(0));
    connection.seen.until(GOAWAY).await;
    drop(silent);
}

/// A reader for which more has been published than fits into what is between, and who reads none of it.
async fn stuck(target: &Target) -> Reader {
    let transport = Transport {
        framing: Framing::Sse,
        link: Link::Http1,
    };
    let mut reader = transport.open(target, Ask::of(["drain/stuck"])).await;
    reader.ready().await;
    reader.valve().close();
    let mut publisher = Publisher::new(target).await;
    for _ in 0..=support::server::most_that_the_kernel_takes() / EVENT {
        publisher.text("drain/stuck", &"x".repeat(EVENT)).await;
    }
    reader
}

async fn until_draining(target: &Target) {
    let deadline = Instant::now() + support::server::PATIENCE;
    loop {
        let (status, _) = ask(target, Link::Http1, Call::get("/readyz")).await;
        if status == 503 {
            return;
        }
        assert_eq!(status, 200);
        assert!(Instant::now() < deadline, "it does not begin to drain");
        tokio::task::yield_now().await;
    }
}

async fn newcomers_are_told(target: &Target, link: Link) {
    for path in ["/healthz", "/stats", "/metrics"] {
        let (status, _) = ask(target, link, Call::get(path)).await;
        assert_eq!(status, 200, "{link}: {path}");
    }
    // An EventSource gives up for ever on any other status.
    for path in ["/events?topic=t", "/sse", "/nowhere"] {
        let call = Call::get(path).with("accept", "text/event-stream");
        let (status, body) = ask(target, link, call).await;
        assert_eq!(status, 200, "{link}: {path}");
        let messages = sse::parse(&body).unwrap_or_else(|e| panic!("{link}: {e}"));
        let reason = "draining".to_owned();
        assert_eq!(messages, [Message::Busy { reason }]);
    }
    let mut refused = vec![
        Call::get("/events?topic=t").with("accept", "*/*"),
        Call::get("/poll?topic=t"),
        Call::get("/"),
    ];
    if link != Link::H2cUpgrade {
        refused.push(Call::post("/publish/t", "x"));
    }
    for call in refused {
        let path = call.path.clone();
        let mut connection = Connection::open(target, link).await;
        let answer = connection.send(call).await.expect("an answer");
        assert_eq!(answer.status(), 503, "{link}: {path}");
        assert!(
            answer.headers().contains_key("retry-after"),
            "{link}: {path}"
        );
    }
    if link != Link::H2cUpgrade {
        let transport = Transport {
            framing: Framing::WebSocket,
            link,
        };
        let refused = transport.try_open(target, Ask::of(["t"])).await;
        assert_eq!(refused.err().map(|r| r.status), Some(503), "{link}");
    }
}

async fn ask(target: &Target, link: Link, call: Call) -> (u16, bytes::Bytes) {
    let mut connection = Connection::open(target, link).await;
    let answer = connection.send(call).await.expect("an answer");
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await;
    (status, body.expect("the body ends").to_bytes())
}
