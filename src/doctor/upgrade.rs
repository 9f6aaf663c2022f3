//! WebSocket: whether its upgrade arrives on HTTP/1.1, and on HTTP/2 whether extended CONNECT is announced and works.

use std::io;

use super::Report;
use super::advice::Trouble;
use super::greeting::Greeted;
use super::pace::PROMPT;
use super::recording::{Heard, Recording};
use crate::client::{Connection, Http, Place};

const CHECK: &str = "WebSocket";
const CHECK_TWO: &str = "WebSocket on HTTP/2";

/// Opens WebSockets, and returns one that is open.
pub async fn examine(greeted: &Greeted, report: &mut Report<'_>) -> io::Result<Option<Recording>> {
    let one = match on_http1(greeted).await {
        Some(Ok(socket)) => {
            report.well(CHECK, "101, on HTTP/1.1")?;
            Some(socket)
        }
        Some(Err(words)) => {
            let words = format!("no 101 on HTTP/1.1: {words}");
            report.blame(CHECK, &words, Trouble::LostUpgrade)?;
            None
        }
        // HTTP/1.1 is not spoken here at all.
        None => None,
    };
    if greeted.http == Http::One {
        return Ok(one);
    }
    let two = if greeted.settings.extended_connect {
        match open(&speaking(greeted, Http::Two)).await {
            Ok(socket) => {
                report.well(CHECK_TWO, "by extended CONNECT")?;
                Some(socket)
            }
            Err(words) => {
                let words = format!(
                    "announced, and then refused, which a browser takes for the end: {words}. Start triwire with \
                     --no-websocket-http2, or take it from what announces it"
                );
                report.wrong(CHECK_TWO, words)?;
                None
            }
        }
    } else {
        let words = "extended CONNECT is not announced, so a browser opens a connection of HTTP/1.1 for each";
        report.note(CHECK_TWO, words)?;
        None
    };
    if one.is_none() && two.is_none() {
        report.wrong(CHECK, "there is no way to open one")?;
    }
    Ok(one.or(two))
}

/// `None` where HTTP/1.1 is not spoken.
async fn on_http1(greeted: &Greeted) -> Option<Result<Recording, String>> {
    let place = speaking(greeted, Http::One);
    if greeted.http == Http::Two {
        // By TLS it can be told before anything is asked; and cleartext that speaks HTTP/2 speaks nothing else.
        let opened = Connection::open(&place).await;
        if !place.is_tls() || opened.is_err() {
            return None;
        }
    }
    Some(open(&place).await)
}

fn speaking(greeted: &Greeted, http: Http) -> Place {
    let mut place = greeted.place.clone();
    place.http = Some(http);
    place
}

async fn open(place: &Place) -> Result<Recording, String> {
    let mut socket = Recording::of_websocket(place);
    let late = socket.asked().await + PROMPT;
    let opened = |heard: &Heard| match heard {
        Heard::Ready(_) => Some(Ok(())),
        Heard::Failed(failure) => Some(Err(failure.words.clone())),
        Heard::End(words) | Heard::Busy(words) => Some(Err(words.clone())),
        _ => None,
    };
    socket
        .until(late, |heard| heard.iter().any(|(_, h)| opened(h).is_some()))
        .await;
    match socket.first(opened) {
        Some((_, Ok(()))) => Ok(socket),
        Some((_, Err(refused))) => Err(refused),
        None => Err(format!("nothing comes in {PROMPT:?}")),
    }
}
