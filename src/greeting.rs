//! What is spoken at an address, found out by saying hello: for a person who has given the address of something else.
//!
//! Nobody is spoken to like this but after a connection could not be made as it should be.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take; who is slower remains unknown.
const PATIENCE: Duration = Duration::from_millis(300);

/// What Postgres is asked first: whether it encrypts. Nobody else answers with this one letter.
const ENCRYPTS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The beginning of TLS: the least that a client can offer. Whoever speaks it answers with a record of its own, be it an alert.
const HELLO: &[u8] = &[
    22, 3, 1, 0, 45, 1, 0, 0, 41, 3,
    3, // A record of a handshake; a hello of 41 bytes, TLS 1.2.
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, // What is to be random.
    16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, //
    0, 0, 2, 0xc0, 0x2f, 1, 0, // No session, one cipher, no compression.
];

/// What somebody wants to speak.
#[derive(Clone, Copy, Debug)]
pub struct Language {
    name: &'static str,
    /// Its URLs without TLS, and with it.
    schemes: (&'static str, &'static str),
}

/// That of Redis.
pub const REDIS: Language = Language {
    name: "Redis",
    schemes: ("redis", "rediss"),
};

/// That of NATS.
#[cfg(feature = "nats")]
const NATS: Language = Language {
    name: "NATS",
    schemes: ("nats", "tls"),
};

/// MQTT.
#[cfg(feature = "mqtt")]
pub const MQTT: Language = Language {
    name: "MQTT",
    schemes: ("mqtt", "mqtts"),
};

/// AMQP.
#[cfg(feature = "amqp")]
pub const AMQP: Language = Language {
    name: "AMQP",
    schemes: ("amqp", "amqps"),
};

/// What is wrong with an address, for who could not speak NATS there, and why; nothing, where it is not the language.
#[cfg(feature = "nats")]
pub async fn wrong_for_nats(host: &str, port: u16, why: &str) -> Option<String> {
    // It greets without TLS, also where that is to follow.
    let is_secure = why.contains("corrupt message");
    wrong(host, port, NATS, is_secure).await
}

/// What is wrong with an address, for who could not speak there what is wanted, with TLS or without; nothing, where it is not
/// the language.
pub async fn wrong(host: &str, port: u16, wanted: Language, is_secure: bool) -> Option<String> {
    let (name, (plain, secure)) = (wanted.name, wanted.schemes);
    match heard(host, port).await? {
        "TLS" if is_secure => None,
        "TLS" => Some(format!(
            "it speaks TLS there, not {name}; with TLS the URL is {secure}://"
        )),
        other if other == name && is_secure => Some(format!(
            "it speaks {name} there without TLS, for which the URL is {plain}://"
        )),
        other if other == name => None,
        other => Some(format!("it speaks {other} there, not {name}")),
    }
}

/// What is spoken there, if it is one of a few.
pub async fn heard(host: &str, port: u16) -> Option<&'static str> {
    let greeting = said(host, port, b"").await?;
    if !greeting.is_empty() {
        return greeting.starts_with(b"INFO ").then_some("NATS");
    }
    match &*said(host, port, &ENCRYPTS).await? {
        b"S" | b"N" => return Some("Postgres"),
        // Who sends it as much as it begins with, and not that, is told the version that it speaks.
        b"AMQP\0\0\x09\x01" => return Some("AMQP"),
        _ => {}
    }
    let answer = said(host, port, b"PING\r\n").await?;
    let begins = |with: &[u8]| answer.starts_with(with);
    if begins(b"HTTP/") {
        return Some("HTTP");
    }
    if begins(b"+PONG\r\n") || begins(b"-NOAUTH ") || begins(b"-DENIED ") {
        return Some("Redis");
    }
    let is_tls = |answer: &[u8]| matches!(answer, [21 | 22, 3, ..]);
    (is_tls(&answer) || is_tls(&said(host, port, HELLO).await?)).then_some("TLS")
}

/// The beginning of what is answered; nothing is silence.
async fn said(host: &str, port: u16, words: &[u8]) -> Option<Vec<u8>> {
    let connected = timeout(PATIENCE, TcpStream::connect((host, port))).await;
    let mut stream = connected.ok()?.ok()?;
    stream.write_all(words).await.ok()?;
    let mut answer = vec![0; 16];
    let count = timeout(PATIENCE, stream.read(&mut answer)).await;
    answer.truncate(count.unwrap_or(Ok(0)).unwrap_or(0));
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn they_are_told_apart() {
        for (asked, answer, spoken) in [
            (&b""[..], &b"INFO {}\r\n"[..], Some("NATS")),
            (&ENCRYPTS, b"N", Some("Postgres")),
            (b"PING\r\n", b"+PONG\r\n", Some("Redis")),
            (&ENCRYPTS, b"AMQP\0\0\x09\x01", Some("AMQP")),
            (b"PING\r\n", b"HTTP/1.1 400 Bad Request\r\n", Some("HTTP")),
            (b"PING\r\n", b"\x15\x03\x03\0\x02\x02\x46", Some("TLS")),
            (HELLO, b"\x15\x03\x03\0\x02\x02\x46", Some("TLS")),
            (b"", b"220 mail\r\n", None),
            (b"nothing at all", b"", None),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let port = listener.local_addr().expect("it is bound").port();
            let answering = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.expect("it is there");
                    let mut words = vec![0; asked.len()];
                    let read = timeout(PATIENCE / 2, stream.read_exact(&mut words)).await;
                    if matches!(read, Ok(Ok(_))) && words == asked {
                        let _ = stream.write_all(answer).await;
                    }
                }
            });
            assert_eq!(heard("127.0.0.1", port).await, spoken, "{spoken:?}");
            answering.abort();
        }
    }
}
