//! `Upgrade: h2c` (RFC 7540, 3.2, which RFC 9113 has given up; curl and nghttp still speak it), for a GET without
//! body: the request that was read as HTTP/1.1 is fed to the HTTP/2 side again, as the HEADERS of stream 1.
//!
//! Everything else that is HTTP/1.1 is told which protocol this port speaks.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Guest, serve_http1_with, serve_http2};
use super::direct::Handover;
use super::socket::{Progress, Socket};
use crate::body::{Body, refused};
use crate::problem::Problem;

const PREFACE_LENGTH: usize = 24;
const FRAME_HEAD_LENGTH: usize = 9;
/// The largest frame that any peer must take (RFC 9113, 4.2).
const FRAME_PAYLOAD: usize = 16_384;
const SETTINGS_HTTP2: HeaderName = HeaderName::from_static("http2-settings");

/// Serves a connection on a port for h2c that has begun with HTTP/1.1.
pub(super) async fn serve(socket: Socket, guest: Guest, progress: Arc<Progress>) -> io::Result<()> {
    let inner = guest.clone();
    let service = service_fn(move |request| {
        let answer = answer(request, &inner);
        async move { Ok::<_, Infallible>(answer) }
    });
    // Nothing here is a stream on HTTP/1.1, so nothing is handed over.
    serve_http1_with(socket, guest, service, Handover::default(), progress)
        .await
        .map(drop)
}

fn answer(mut request: Request<Incoming>, guest: &Guest) -> Response<Body> {
    if !guest.home.settings.h2c_upgrade {
        let detail =
            "this port speaks HTTP/2 only: with prior knowledge, or use a port for HTTP/1.1";
        return refused(&Problem::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "http-version",
            detail,
        ));
    }
    if !is_upgradable(&request) {
        let detail = "this port speaks HTTP/2: use prior knowledge, upgrade with a GET without body, or use a port for HTTP/1.1";
        let mut response = refused(&Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade-required",
            detail,
        ));
        mark(response.headers_mut());
        return response;
    }
    let first = request_frames(&request);
    let upgrade = hyper::upgrade::on(&mut request);
    let guest = guest.clone();
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<Socket>>() else {
            return tracing::error!("h2c: the socket is not ours");
        };
        let stream = Replayed::new(parts.io.into_inner(), parts.read_buf, first);
        if let Err(error) = serve_http2(stream, guest).await {
            tracing::debug!("h2c: {error}");
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    mark(response.headers_mut());
    response
}

fn mark(headers: &mut HeaderMap) {
    headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
}

fn is_upgradable(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    let has = |name: &HeaderName, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
        values
            .flat_map(|v| v.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    };
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && request.body().is_end_stream()
        && has(&header::UPGRADE, "h2c")
        && has(&header::CONNECTION, "upgrade")
        && has(&header::CONNECTION, "http2-settings")
        && headers.get_all(&SETTINGS_HTTP2).iter().count() == 1
}

/// The request as HEADERS (and CONTINUATION) of stream 1, which it ends. Every field is a literal without
/// indexing and without Huffman coding (RFC 7541, 6.2.2), so that the client's compression state is not touched.
fn request_frames(request: &Request<Incoming>) -> Bytes {
    let headers = request.headers();
    let authority = request.uri().authority().map(|a| a.as_str().as_bytes());
    let host = authority.or_else(|| headers.get(header::HOST).map(HeaderValue::as_bytes));
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let mut block = BytesMut::new();
    literal(&mut block, b":method", request.method().as_str().as_bytes());
    literal(&mut block, b":scheme", b"http");
    literal(&mut block, b":path", path.as_bytes());
    if let Some(host) = host {
        literal(&mut block, b":authority", host);
    }
    for (name, value) in headers.iter().filter(|(name, _)| travels(name)) {
        literal(&mut block, name.as_str().as_bytes(), value.as_bytes());
    }
    frames(block.freeze())
}

/// Whether a header goes on into HTTP/2 (RFC 9113, 8.2.2).
fn travels(name: &HeaderName) -> bool {
    let connection = [
        header::HOST,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        SETTINGS_HTTP2,
    ];
    !connection.contains(name) && !matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn literal(block: &mut BytesMut, name: &[u8], value: &[u8]) {
    block.put_u8(0);
    for text in [name, value] {
        integer(block, text.len());
        block.extend_from_slice(text);
    }
}

/// An integer with a prefix of 7 bits (RFC 7541, 5.1).
fn integer(block: &mut BytesMut, value: usize) {
    let Some(mut rest) = value.checked_sub(127) else {
        return block.put_u8(value as u8);
    };
    block.put_u8(127);
    while rest >= 128 {
        block.put_u8((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.put_u8(rest as u8);
}

fn frames(mut block: Bytes) -> Bytes {
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    let mut out = BytesMut::new();
    let (mut kind, mut flags) = (HEADERS, END_STREAM);
    loop {
        let part = block.split_to(block.len().min(FRAME_PAYLOAD));
        if block.is_empty() {
            flags |= END_HEADERS;
        }
        out.put_uint(part.len() as u64, 3);
        out.put_u8(kind);
        out.put_u8(flags);
        out.put_u32(1);
        out.extend_from_slice(&part);
        if block.is_empty() {
            return out.freeze();
        }
        (kind, flags) = (CONTINUATION, 0);
    }
}

/// A stream on which the client's preface and SETTINGS are followed by frames of ours, and then by all the rest.
struct Replayed {
    socket: Socket,
    state: State,
    /// Read from the socket and not given out yet.
    buffer: BytesMut,
    first: Bytes,
}

#[derive(PartialEq)]
enum State {
    /// Until the preface and the whole SETTINGS frame are in the buffer.
    Gathering,
    /// Giving out the buffer.
    Giving,
    Through,
}

impl Replayed {
    fn new(socket: Socket, read: Bytes, first: Bytes) -> Replayed {
        Replayed {
            socket,
            state: State::Gathering,
            buffer: read.into(),
            first,
        }
    }

    /// How long the preface and SETTINGS are together, once that can be told.
    fn head_length(&self) -> Option<usize> {
        let head = self
            .buffer
            .get(PREFACE_LENGTH..PREFACE_LENGTH + FRAME_HEAD_LENGTH)?;
        let payload = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        Some(PREFACE_LENGTH + FRAME_HEAD_LENGTH + payload)
    }

    /// Whether what was gathered suffices, or cannot become what it should be: h2 will say so itself.
    fn gathered(&mut self) -> bool {
        let Some(length) = self.head_length() else {
            return false;
        };
        if length > PREFACE_LENGTH + FRAME_HEAD_LENGTH + FRAME_PAYLOAD {
            return true;
        }
        if self.buffer.len() < length {
            return false;
        }
        let rest = self.buffer.split_off(length);
        self.buffer.extend_from_slice(&self.first);
        self.buffer.extend_from_slice(&rest);
        true
    }
}

impl AsyncRead for Replayed {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.state == State::Gathering {
            if this.gathered() {
                this.state = State::Giving;
                break;
            }
            let mut space = [0; 1024];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                this.state = State::Giving;
            }
            this.buffer.extend_from_slice(read.filled());
        }
        if this.state == State::Giving {
            let count = this.buffer.len().min(out.remaining());
            out.put_slice(&this.buffer[..count]);
            this.buffer.advance(count);
            if this.buffer.is_empty() {
                this.buffer = BytesMut::new();
                this.state = State::Through;
            }
            if count > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        Pin::new(&mut this.socket).poll_read(cx, out)
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_hpack() {
        // RFC 7541, C.1: 1337 with a prefix of 5 bits has the same continuation rule; here the prefix has 7.
        let table: [(usize, &[u8]); 5] = [
            (0, &[0]),
            (126, &[126]),
            (127, &[127, 0]),
            (254, &[127, 127]),
            (255, &[127, 128, 1]),
        ];
        for (value, want) in table {
            let mut block = BytesMut::new();
            integer(&mut block, value);
            assert_eq!(&block[..], want, "{value}");
        }
    }

    #[test]
    fn long_blocks_are_continued() {
        let out = frames(Bytes::from(vec![7; FRAME_PAYLOAD + 1]));
        assert_eq!(&out[..9], [0, 0x40, 0, 1, 1, 0, 0, 0, 1]);
        assert_eq!(&out[9 + FRAME_PAYLOAD..], [0, 0, 1, 9, 4, 0, 0, 0, 1, 7]);
    }
}
