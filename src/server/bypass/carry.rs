//! One event stream on its way past h2.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::Bypass;
use super::outgoing::Blocked;
use super::windows::Place;
use crate::body::Stream;

/// How many bytes one stream writes before the others of its connection have their turn.
const TURN: usize = 16 * 1024;

/// Carries a stream to its end, or until the body that hyper has of it is dropped.
pub(super) async fn carry(bypass: Bypass, place: Place, events: Box<dyn Stream>) {
    let mut carrying = Carrying {
        bypass,
        place,
        events,
        left: None,
        is_tied: false,
    };
    poll_fn(|cx| carrying.poll(cx)).await;
}

struct Carrying {
    bypass: Bypass,
    place: Place,
    events: Box<dyn Stream>,
    /// What was taken and could not be written yet: seldom anything.
    left: Option<Box<Bytes>>,
    /// Whether the bypass knows whom to wake.
    is_tied: bool,
}

impl Carrying {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_tied {
            self.is_tied = true;
            self.bypass.state().tie(self.place.stream, cx.waker());
        }
        let mut written = 0;
        while written < TURN {
            let mut state = self.bypass.state();
            // Nothing is taken from the log before something can be sent.
            let blocked = match &mut self.left {
                Some(chunk) => state.write_data(self.place, chunk).err(),
                None => state.room(self.place).err(),
            };
            drop(state);
            match blocked {
                Some(Blocked::Wait) => return Poll::Pending,
                Some(Blocked::Gone) => return Poll::Ready(()),
                None => self.left = None,
            }
            let Some(mut chunk) = ready!(self.events.poll_chunk(cx)) else {
                self.bypass.state().end(self.place.stream);
                return Poll::Ready(());
            };
            written += chunk.len();
            if self
                .bypass
                .state()
                .write_data(self.place, &mut chunk)
                .is_err()
            {
                self.left = Some(Box::new(chunk));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
