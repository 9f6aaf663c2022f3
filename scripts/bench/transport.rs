//! The transports that carry a fan-out, and the listener each is on.

/// A wire on a listener, by the name that command lines use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    SseHttp1,
    SseHttp1s,
    SseH2c,
    SseHttp2,
    Ws,
    Wss,
    LongPoll,
}

impl Transport {
    /// One for each listener.
    pub const OF_LISTENERS: [Transport; 6] = [
        Transport::SseHttp1,
        Transport::SseHttp1s,
        Transport::SseH2c,
        Transport::SseHttp2,
        Transport::Ws,
        Transport::Wss,
    ];

    /// The listener's name, which is also its flag.
    pub fn listener(self) -> &'static str {
        match self {
            Transport::SseHttp1 | Transport::LongPoll => "http1",
            Transport::SseHttp1s => "http1s",
            Transport::SseH2c => "h2c",
            Transport::SseHttp2 => "http2",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Transport::SseH2c | Transport::SseHttp2)
    }

    pub fn is_tls(self) -> bool {
        matches!(
            self,
            Transport::SseHttp1s | Transport::SseHttp2 | Transport::Wss
        )
    }

    pub fn of_listener(name: &str) -> Option<Transport> {
        Transport::OF_LISTENERS
            .into_iter()
            .find(|transport| transport.listener() == name)
    }
}
