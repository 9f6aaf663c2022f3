//! WebSocket by hand (RFC 6455): frames as a client should not send them.

use super::{Peer, text};
use crate::support::server::Server;

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The bit of the first byte that says that a message ends with this frame.
pub const FIN: u8 = 0x80;

/// A handshake without its last, empty line.
pub fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )
}

/// An open socket.
pub struct WebSocket {
    pub peer: Peer,
}

impl WebSocket {
    pub fn open(server: &Server, listener: &str, path: &str) -> WebSocket {
        WebSocket::over(Peer::connect(server, listener), path)
    }

    pub fn over(mut peer: Peer, path: &str) -> WebSocket {
        peer.say(handshake(path) + "\r\n");
        let answer = peer.answer();
        assert_eq!(answer.status, 101, "{answer:?}");
        let mut socket = WebSocket { peer };
        let ready = socket.message().expect("`$ready`");
        assert!(ready.contains("$ready"), "{ready}");
        socket
    }

    /// A frame with a mask, as a client's must have one.
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.peer.say(frame(first, payload));
    }

    /// The next frame: its first byte and its payload.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.peer.take(2)?;
        let length = match head[1] {
            126 => self
                .peer
                .take(2)?
                .iter()
                .fold(0, |n, b| n << 8 | usize::from(*b)),
            127 => self
                .peer
                .take(8)?
                .iter()
                .fold(0, |n, b| n << 8 | usize::from(*b)),
            short => usize::from(short),
        };
        Some((head[0], self.peer.take(length)?))
    }

    /// The next text message; pings and pongs are skipped.
    pub fn message(&mut self) -> Option<String> {
        loop {
            match self.frame()? {
                (first, payload) if first == FIN | TEXT => return Some(text(&payload)),
                (first, payload) if first == FIN | CLOSE => {
                    panic!("closed: {:?}", text(&payload))
                }
                _ => {}
            }
        }
    }

    /// Reads to the server's Close and the end of the connection; the code, 0 when there is none, and the reason.
    pub fn closed(&mut self) -> Option<(u16, String)> {
        let mut close = None;
        while let Some((first, payload)) = self.frame() {
            if first == FIN | CLOSE && close.is_none() {
                let code = payload
                    .get(..2)
                    .map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
                close = Some((code, text(payload.get(2..).unwrap_or_default())));
                // Its answer, so that the server need not wait for one.
                let _ = self.peer.try_say(frame(FIN | CLOSE, &[]));
            }
        }
        close
    }
}

/// A client's frame. The mask is of noughts, so the payload is as it was.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    let mut out = vec![first];
    match payload.len() {
        length @ 0..126 => out.push(MASKED | length as u8),
        length @ 126..65_536 => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}
