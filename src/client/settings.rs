//! What a server says of itself at the start of an HTTP/2 connection (RFC 9113, 6.5), which hyper's client keeps to
//! itself.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::connection::Http;
use super::dial::dial;
use super::failure::{Failure, Fault};
use super::place::Place;

const LONGEST: Duration = Duration::from_secs(10);
/// The client's preface (3.4) and its own SETTINGS, empty.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u16 = 3;
/// RFC 8441, 3.
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// What matters here of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How many streams a connection may have; `None` is no limit.
    pub streams: Option<u32>,
    /// Whether extended CONNECT is taken, which WebSockets need.
    pub extended_connect: bool,
}

impl Settings {
    /// Connects for them alone.
    ///
    /// # Errors
    /// When what answers does not speak HTTP/2.
    pub async fn of(place: &Place) -> Result<Settings, Failure> {
        let mut place = place.clone();
        place.http = Some(Http::Two);
        let (mut stream, _) = dial(&place).await?;
        let read = async {
            stream.write_all(PREFACE).await?;
            stream.flush().await?;
            let mut head = [0; 9];
            stream.read_exact(&mut head).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            // A frame may be that large before anybody agreed on more (4.2).
            let mut payload = vec![0; length.min(1 << 14) as usize];
            stream.read_exact(&mut payload).await?;
            std::io::Result::Ok((head[3], payload))
        };
        match timeout(LONGEST, read).await {
            Ok(Ok((SETTINGS, payload))) => Ok(parse(&payload)),
            Ok(Ok(_)) => {
                let words = format!("{} does not speak HTTP/2", place.authority);
                Err(Failure::new(Fault::Protocol, words))
            }
            Ok(Err(error)) => Err(Failure::of_io(&place.authority, &error)),
            Err(_) => Err(Failure::silent(&place.authority, LONGEST)),
        }
    }
}

/// Pairs of an identifier and a value (6.5.1).
fn parse(payload: &[u8]) -> Settings {
    let mut settings = Settings::default();
    for pair in payload.chunks_exact(6) {
        let value = u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]);
        match u16::from_be_bytes([pair[0], pair[1]]) {
            MAX_CONCURRENT_STREAMS => settings.streams = Some(value),
            ENABLE_CONNECT_PROTOCOL => settings.extended_connect = value == 1,
            _ => {}
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        assert_eq!(parse(&[]), Settings::default());
        let payload = [0, 3, 0, 0, 1, 0, 0, 9, 9, 9, 9, 9, 0, 8, 0, 0, 0, 1, 0];
        let want = Settings {
            streams: Some(256),
            extended_connect: true,
        };
        assert_eq!(parse(&payload), want);
    }
}
