//! Proxies that are set wrongly, each in one way, and what `triwire doctor` says of them.
//!
//! Each is a real one, with a change of the settings of the page; but for HTTP/1.0, which none of the three speaks to a
//! client of HTTP/1.1: there a relay of the test's own changes the version in the answers.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::certificate::Flaw;
use super::doctor::{BEATS, Told, side_by_side, told};
use super::proxy::Kind;
use super::support::server::Server;

const SILENT: [&str; 4] = ["--heartbeat", "1h", "--ping", "1h"];

#[test]
fn answers_that_are_held_back() {
    let nginx: &[_] = &[
        (
            "proxy_buffering off;",
            "proxy_ignore_headers X-Accel-Buffering;",
        ),
        ("proxy_http_version 1.1;", ""),
        ("proxy_set_header Connection $connection_upgrade;", ""),
    ];
    let caddy: &[_] = &[(
        "transport http {",
        "buffer_responses\n        transport http {",
    )];
    let rows = [
        (Kind::Nginx, nginx, "nginx: proxy_buffering off"),
        (Kind::Caddy, caddy, "Caddy: no buffer_responses"),
    ];
    side_by_side(rows, |(kind, changes, remedy)| {
        if let Some(told) = told(kind, &BEATS, changes, Flaw::None) {
            told.is_wrong("buffering", remedy);
        }
    });
}

/// Caddy 2.6 compresses what its matcher names, and does not flush it.
#[test]
fn compression_that_holds_events_back() {
    const ENCODE: &str = "encode {
        gzip
        minimum_length 1
        match {
            header Content-Type text/event-stream*
        }
    }
    reverse_proxy";
    if let Some(told) = told(
        Kind::Caddy,
        &BEATS,
        &[("reverse_proxy", ENCODE)],
        Flaw::None,
    ) {
        told.is_wrong("compression", "Caddy: no text/event-stream");
        told.is("ok", "buffering", "");
        told.is("ok", "idle stream", "");
    }
}

#[test]
fn compression_that_does_not() {
    let nginx = [(
        "gzip off;",
        "gzip on; gzip_types text/event-stream; gzip_min_length 0;",
    )];
    let haproxy = [(
        "default_backend triwire",
        "compression algo gzip\n    compression type text/event-stream\n    default_backend triwire",
    )];
    side_by_side(
        [(Kind::Nginx, nginx), (Kind::Haproxy, haproxy)],
        |(kind, changes)| {
            if let Some(told) = told(kind, &BEATS, &changes, Flaw::None) {
                told.is_well();
                told.is("note", "compression", "gzip, and events come in time");
            }
        },
    );
}

#[test]
fn idle_streams_that_are_cut() {
    side_by_side(
        [
            (Kind::Nginx, "nginx: proxy_read_timeout"),
            (Kind::Haproxy, "HAProxy: timeout client"),
            (Kind::Caddy, "Caddy: read_timeout"),
        ],
        |(kind, remedy)| {
            if let Some(told) = told(kind, &SILENT, &[], Flaw::None) {
                told.is_wrong("idle stream", remedy);
                told.is("ok", "long stream", "");
                told.is_wrong("idle WebSocket", remedy);
            }
        },
    );
}

#[test]
fn an_idle_websocket_that_is_cut() {
    let args = ["--heartbeat", "1s", "--ping", "1h"];
    let tunnel = [(
        "timeout server 3s",
        "timeout server 3s\n    timeout tunnel 2s",
    )];
    if let Some(told) = told(Kind::Haproxy, &args, &tunnel, Flaw::None) {
        told.is("ok", "idle stream", "");
        told.is_wrong("idle WebSocket", "timeout tunnel");
    }
}

#[test]
fn streams_that_are_cut_at_an_age() {
    let limit = [(
        "protocols h1 h2",
        "protocols h1 h2\n        timeouts {\n write 3s\n }",
    )];
    if let Some(told) = told(Kind::Caddy, &BEATS, &limit, Flaw::None) {
        told.is_wrong("idle stream", "at an age");
        told.is_wrong("long stream", "Caddy: no write in timeouts");
    }
}

#[test]
fn an_upgrade_that_is_lost() {
    let table: [(Kind, (&str, &str), &str); 3] = [
        (
            Kind::Nginx,
            ("proxy_set_header Upgrade $http_upgrade;", ""),
            "nginx: proxy_http_version 1.1 and proxy_set_header",
        ),
        (
            Kind::Haproxy,
            (
                "default_backend triwire",
                "http-request del-header upgrade\n    default_backend triwire",
            ),
            "HAProxy: no http-request del-header",
        ),
        (
            Kind::Caddy,
            (
                "transport http {",
                "header_up -Upgrade\n        transport http {",
            ),
            "Caddy: no header_up",
        ),
    ];
    side_by_side(table, |(kind, change, remedy)| {
        if let Some(told) = told(kind, &BEATS, &[change], Flaw::None) {
            told.is_wrong("WebSocket", "no 101");
            told.is_wrong("WebSocket", remedy);
            if kind == Kind::Haproxy {
                told.is_wrong("WebSocket on HTTP/2", "announced, and then refused");
            }
            told.is("ok", "idle stream", "");
        }
    });
}

#[test]
fn an_older_version_than_was_offered() {
    side_by_side(
        [
            (
                Kind::Nginx,
                ("ssl http2;", "ssl;"),
                "nginx: listen 443 ssl http2",
            ),
            (
                Kind::Haproxy,
                ("alpn h2,http/1.1", "alpn http/1.1"),
                "HAProxy: alpn",
            ),
            (
                Kind::Caddy,
                ("protocols h1 h2", "protocols h1"),
                "Caddy: protocols h1 h2",
            ),
        ],
        |(kind, change, remedy)| {
            if let Some(told) = told(kind, &BEATS, &[change], Flaw::None) {
                told.is_wrong("HTTP version", "HTTP/1.1 chosen");
                told.is_wrong("HTTP version", remedy);
                told.is("ok", "WebSocket", "");
            }
        },
    );
}

#[test]
fn certificates_that_are_wrong() {
    side_by_side(
        [
            (Flaw::Expired, "expired"),
            (Flaw::NotYetValid, "not valid yet"),
            (Flaw::Untrusted, "signed by nobody who is trusted"),
            (Flaw::WrongName, "for other names"),
        ],
        |(flaw, says)| {
            if let Some(told) = told(Kind::Nginx, &BEATS, &[], flaw) {
                told.is_wrong("certificate", says);
                told.is_wrong("certificate", "nginx: ssl_certificate");
                // Everything else is checked all the same.
                for check in ["HTTP version", "WebSocket", "idle stream"] {
                    told.is("ok", check, "");
                }
            }
        },
    );
}

/// A relay that makes HTTP/1.0 of the versions in answers.
fn relay_of_http10(behind: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        // As long as the test; each connection ends with its client.
        for client in listener.incoming().map_while(Result::ok).take(100) {
            let server = TcpStream::connect(behind).expect("it listens");
            let (mut from, mut to) = (
                client.try_clone().expect("a socket"),
                server.try_clone().expect("a socket"),
            );
            thread::spawn(move || {
                io::copy(&mut from, &mut to).map(|_| to.shutdown(Shutdown::Write))
            });
            thread::spawn(move || older(server, client));
        }
    });
    addr
}

fn older(server: TcpStream, mut client: TcpStream) -> io::Result<()> {
    let mut server = BufReader::new(server);
    let mut line = String::new();
    server.read_line(&mut line)?;
    client.write_all(line.replace("HTTP/1.1", "HTTP/1.0").as_bytes())?;
    io::copy(&mut server, &mut client).map(drop)
}

#[test]
fn an_answer_of_http10() {
    let server = Server::start(&BEATS);
    let relay = relay_of_http10(server.addr("http1"));
    let told = Told::by(&format!("http://{relay}"), &server.ca());
    told.is_wrong("HTTP version", "HTTP/1.0");
}
