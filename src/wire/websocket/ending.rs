//! How a socket ends: which Close the peer is told, and how long it may take to hear it.

use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::sips::Sips;

/// How long the peer may take to answer our Close.
const LINGER: Duration = Duration::from_secs(1);

/// How a session ends.
pub(super) enum Ending {
    /// With a Close of ours.
    Close(CloseCode, &'static str),
    /// The peer has closed, or is gone.
    Gone,
}

/// Ends it with a Close of ours.
pub(super) fn close<T>(code: CloseCode, reason: &'static str) -> ControlFlow<Ending, T> {
    ControlFlow::Break(Ending::Close(code, reason))
}

/// What a failure of the socket means to the peer (RFC 6455, 7.4.1).
pub(super) fn ending(error: &Error) -> Ending {
    match error {
        Error::Protocol(_) => Ending::Close(CloseCode::Protocol, "against RFC 6455"),
        Error::Utf8(_) => Ending::Close(CloseCode::Invalid, "text that is not UTF-8"),
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Ending::Close(
            CloseCode::Size,
            "message over the limit (event-bytes times six and 4 KiB)",
        ),
        _ => Ending::Gone,
    }
}

/// Says why, lets the peer answer, and leaves. What it still sends is discarded, so that our last words reach it.
pub(super) async fn finish(mut socket: WebSocketStream<Sips>, ending: Ending) {
    let _ = tokio::time::timeout(LINGER, async {
        if let Ending::Close(code, reason) = ending {
            let frame = CloseFrame {
                code,
                reason: Utf8Bytes::from_static(reason),
            };
            if socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = socket.next().await {}
            }
        }
    })
    .await;
    // The socket's own shutdown discards what comes in for a while; over TLS it has something to say before.
    let _ = tokio::time::timeout(2 * LINGER, socket.get_mut().shutdown()).await;
}
