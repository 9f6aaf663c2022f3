//! The promise: who speaks the wrong protocol on a port is told so or closed, with one line in the log at most, and
//! nobody else notices.

mod support;

use support::raw::http2::{self, Http2};
use support::raw::witness::Witness;
use support::raw::{Answer, Peer, ask, lines, one_line, text};
use support::server::{LISTENERS, Server};
use tokio_rustls::rustls::{AlertDescription, Error};

const GET: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n";
const UPGRADE: &str =
    "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n";

#[test]
fn http2_on_a_port_for_http1() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    for listener in ["http1", "ws"] {
        let mut peer = Peer::connect(&server, listener);
        peer.say(http2::PREFACE);
        assert_eq!(text(&peer.rest()), "", "{listener}");
        assert!(one_line(&server, peer.addr()).contains("HTTP/2 preface"));
    }
    // Over TLS the port is known to be right, so this is only a version that is not spoken.
    for listener in ["http1s", "wss"] {
        let mut peer = Peer::connect(&server, listener);
        peer.say(http2::PREFACE);
        let answer = text(&peer.rest());
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{listener}: {answer}"
        );
        one_line(&server, peer.addr());
    }
    witness.saw_nothing();
}

#[test]
fn http1_on_the_port_for_h2c() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let post = GET.replace("GET", "POST");
    let table = [
        ("no upgrade", format!("{GET}\r\n")),
        (
            "a body",
            format!("{GET}{UPGRADE}content-length: 2\r\n\r\n{{}}"),
        ),
        (
            "a chunked body",
            format!("{GET}{UPGRADE}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "no GET",
            format!("{post}{UPGRADE}content-length: 0\r\n\r\n"),
        ),
        (
            "no settings",
            format!("{GET}connection: upgrade\r\nupgrade: h2c\r\n\r\n"),
        ),
        (
            "two settings",
            format!("{GET}{UPGRADE}http2-settings: AAMAAABk\r\n\r\n"),
        ),
        (
            "not named by connection",
            format!("{GET}{}\r\n", UPGRADE.replace(", http2-settings", "")),
        ),
        (
            "HTTP/1.0",
            format!("{GET}{UPGRADE}\r\n").replace("HTTP/1.1", "HTTP/1.0"),
        ),
        (
            "another protocol",
            format!("{GET}{}\r\n", UPGRADE.replace("h2c", "websocket")),
        ),
    ];
    for (what, request) in table {
        let answer = ask(&server, "h2c", &request);
        assert_eq!(
            (answer.status, answer.header("upgrade")),
            (426, "h2c"),
            "{what}: {answer:?}"
        );
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{what}"
        );
    }
    witness.saw_nothing();
}

#[test]
fn an_upgrade_to_h2c_is_taken_for_a_get_without_body() {
    let server = Server::start(&[]);
    let mut peer = Peer::connect(&server, "h2c");
    peer.say(format!("{GET}{UPGRADE}\r\n"));
    let Answer { status, head, .. } = peer.answer();
    assert_eq!(status, 101, "{head}");
    let mut http2 = Http2::over(peer, &[]);
    assert_eq!(http2.answered(1), http2::Answered::With(200, "ok\n".into()));

    let server = Server::start(&["--no-h2c-upgrade"]);
    let answer = ask(&server, "h2c", &format!("{GET}{UPGRADE}\r\n"));
    assert_eq!(
        (answer.status, answer.header("upgrade")),
        (505, ""),
        "{answer:?}"
    );
}

#[test]
fn http1_over_tls_on_the_port_for_http2() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let mut peer = Peer::connect(&server, "http2");
    peer.say(format!("{GET}\r\n"));
    let answer = text(&peer.rest());
    assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
    assert!(lines(&server, peer.addr()).len() <= 1);
    witness.saw_nothing();
}

#[test]
fn cleartext_on_a_port_for_tls() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let requests = [
        format!("{GET}\r\n").into_bytes(),
        http2::PREFACE.to_vec(),
        b"hello there\r\n\r\n".to_vec(),
    ];
    for listener in ["http2", "http1s", "wss"] {
        for request in &requests {
            let mut peer = Peer::cleartext(server.addr(listener));
            peer.say(request);
            let answer = peer.answer();
            assert_eq!(answer.status, 400, "{listener}: {answer:?}");
            assert!(
                answer.body.contains("this port speaks TLS"),
                "{listener}: {answer:?}"
            );
            peer.finish();
            assert_eq!(text(&peer.rest()), "", "{listener}: nothing follows");
            assert!(one_line(&server, peer.addr()).contains("cleartext"));
        }
    }
    witness.saw_nothing();
}

#[test]
fn a_tls_hello_on_a_port_for_cleartext() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    for listener in ["http1", "ws", "h2c"] {
        let mut peer = Peer::cleartext(server.addr(listener));
        peer.say(hello(&server));
        assert!(peer.rest().is_empty(), "{listener}");
        assert!(one_line(&server, peer.addr()).contains("TLS"));
    }
    witness.saw_nothing();
}

#[test]
fn tls_without_a_common_protocol() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let table: [(&str, &[&[u8]]); 6] = [
        ("http2", &[]),
        ("http2", &[b"http/1.1"]),
        ("http2", &[b"h3", b"h2c"]),
        ("http1s", &[b"h2"]),
        ("wss", &[b"h2"]),
        ("wss", &[b"http/1.0"]),
    ];
    for (listener, offered) in table {
        let error = Peer::tls(&server, listener, offered).err();
        let error = error.unwrap_or_else(|| panic!("{listener} takes {offered:?}"));
        let alert = error.get_ref().and_then(|inner| inner.downcast_ref());
        let expected = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
        assert_eq!(alert, Some(&expected), "{listener} {offered:?}: {error}");
    }
    for listener in ["http1s", "wss"] {
        let mut peer = Peer::tls(&server, listener, &[]).expect("no protocol is HTTP/1.1");
        peer.say(format!("{GET}\r\n"));
        assert_eq!(peer.answer().status, 200, "{listener}");
    }
    witness.saw_nothing();
}

#[test]
fn garbage_on_every_port() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let mut peers = Vec::new();
    for garbage in garbage(&server) {
        for listener in LISTENERS {
            let mut peer = Peer::cleartext(server.addr(listener));
            // Refused before it is all sent: as good.
            let _ = peer.try_say(&garbage);
            peer.finish();
            peer.rest();
            peers.push(peer.addr());
        }
    }
    server.until("nobody is left but the witness", |stats| {
        LISTENERS.iter().all(|name| {
            let left = stats["listeners"][name]["connections"].as_u64();
            left <= Some(if *name == "http1" { 3 } else { 0 })
        })
    });
    // The kernel gives a port again to who talks to another listener.
    for peer in &peers {
        let lines = lines(&server, *peer);
        let namesakes = peers.iter().filter(|other| *other == peer).count();
        assert!(lines.len() <= namesakes, "{lines:?}");
    }
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
    witness.saw_nothing();
}

/// What no protocol here begins with, and what begins well and goes wrong.
fn garbage(server: &Server) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut noise = |length| (0..length).map(|_| random.u8(..)).collect::<Vec<u8>>();
    let mut all = vec![
        vec![0],
        vec![0; 100_000],
        vec![b'A'; 100_000],
        vec![b'\n'; 100_000],
        b"\r\n\r\n".to_vec(),
        b"GET".to_vec(),
        b"GET / HTTP/3.7\r\n\r\n".to_vec(),
        b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(),
        b"\x16\x03\x01\xff\xff".to_vec(),
        [http2::PREFACE, &noise(1_000)].concat(),
        [http2::PREFACE, &[0xff; 1_000]].concat(),
        [b"\x16\x03\x01\x02\x00\x01".to_vec(), noise(1_000)].concat(),
        [b"GET / HTTP/1.1\r\nhost: ".to_vec(), noise(1_000)].concat(),
        hello(server)[..100].to_vec(),
    ];
    all.extend((1..6).map(|n| noise(n * 100)));
    all
}

/// The first flight of a TLS client.
fn hello(server: &Server) -> Vec<u8> {
    let mut session = support::raw::session(server, &[b"h2"]);
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("a hello");
    hello
}
