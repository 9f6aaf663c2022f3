//! HTTP/2 frames (RFC 9113, 4.1) on their way between a client and its socket, one by one: a test sees which kinds
//! the server sent, and an upgraded connection can leave out the request that was made as HTTP/1.1.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::server::PATIENCE;

const PREFACE: usize = 24;
const HEAD: usize = 9;
const HEADERS: u8 = 1;
pub const GOAWAY: u8 = 7;

/// The kinds of frames that the server has sent on one connection.
#[derive(Clone, Default)]
pub struct Seen(Arc<watch::Sender<HashSet<u8>>>);

impl Seen {
    /// Waits until one of this kind has come.
    pub async fn until(&self, kind: u8) {
        let mut seen = self.0.subscribe();
        let come = timeout(PATIENCE, seen.wait_for(|seen| seen.contains(&kind)));
        assert!(
            come.await.is_ok(),
            "no frame of kind {kind} in {PATIENCE:?}"
        );
    }
}

/// What the client does with its first request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum First {
    Sent,
    /// The server has it already: it came with `Upgrade: h2c` and is stream 1 (RFC 7540, 3.2).
    LeftOut,
}

/// Puts a pump between a socket and the stream that is returned, on which the HTTP/2 client is to run.
pub fn pump<S>(socket: S, first: First) -> (DuplexStream, Seen)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (near, far) = tokio::io::duplex(64 * 1024);
    let seen = Seen::default();
    let (from_server, to_server) = tokio::io::split(socket);
    let (from_client, to_client) = tokio::io::split(far);
    tokio::spawn(upward(from_client, to_server, first));
    tokio::spawn(downward(from_server, to_client, seen.clone()));
    (near, seen)
}

/// Client to server. An end of either side ends it, and closes the socket's writing side.
async fn upward<S: AsyncWrite>(
    mut client: ReadHalf<DuplexStream>,
    mut server: WriteHalf<S>,
    first: First,
) {
    let _: io::Result<()> = async {
        let mut start = vec![0; PREFACE];
        client.read_exact(&mut start).await?;
        if first == First::LeftOut {
            // The server may answer as soon as it has the preface and SETTINGS, and the client is to have asked by
            // then: all of it is held back until the request is there, and only that is left out.
            loop {
                let frame = frame(&mut client).await?;
                if kind(&frame) == HEADERS && stream(&frame) == 1 {
                    break;
                }
                start.extend_from_slice(&frame);
            }
        }
        server.write_all(&start).await?;
        loop {
            server.write_all(&frame(&mut client).await?).await?;
        }
    }
    .await;
    let _ = server.shutdown().await;
}

/// Server to client, noting the kinds.
async fn downward<S: AsyncRead>(
    mut server: ReadHalf<S>,
    mut client: WriteHalf<DuplexStream>,
    seen: Seen,
) {
    let _: io::Result<()> = async {
        loop {
            let frame = frame(&mut server).await?;
            seen.0.send_if_modified(|seen| seen.insert(kind(&frame)));
            client.write_all(&frame).await?;
        }
    }
    .await;
    let _ = client.shutdown().await;
}

async fn frame<S: AsyncRead>(from: &mut ReadHalf<S>) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEAD];
    from.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
    frame.resize(HEAD + length, 0);
    from.read_exact(&mut frame[HEAD..]).await?;
    Ok(frame)
}

fn kind(frame: &[u8]) -> u8 {
    frame[3]
}

fn stream(frame: &[u8]) -> u32 {
    u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]) & 0x7fff_ffff
}
