//! The rows that bound what strangers can make the server hold: times, sizes, numbers.
//!
//! `docs/limits.md` says of each what happens when it is reached.

use super::Kind;
use super::Setting;
use super::row;
use super::shown;
use crate::config::value::GIB;
use crate::config::value::HOUR;
use crate::config::value::KIB;
use crate::config::value::MIB;
use crate::config::value::MINUTE;
use crate::config::value::SECOND;

pub(super) static TIMES: &[Setting] = &[
    shown(
        "drain",
        "10s",
        Kind::Time(0..=HOUR, |config| &mut config.timing.drain),
        "How long streams may take to end after the first SIGTERM or SIGINT",
    ),
    shown(
        "stall",
        "10min",
        Kind::Time(100..=24 * HOUR, |config| &mut config.timing.stall),
        "How long a reader may take no byte; it holds memory meanwhile",
    ),
    row(
        "dead",
        "2min",
        Kind::Time(SECOND..=24 * HOUR, |config| &mut config.timing.dead),
        "How long a peer may acknowledge nothing; our kernel would wait a quarter of an hour",
    ),
    shown(
        "heartbeat",
        "15s",
        Kind::Time(50..=HOUR, |config| &mut config.timing.heartbeat),
        "Silence after which an SSE stream gets a comment; proxies cut silent streams",
    ),
    row(
        "ping",
        "20s",
        Kind::Time(50..=HOUR, |config| &mut config.timing.ping),
        "How often a WebSocket is pinged; it also keeps proxies from cutting it",
    ),
    row(
        "pong",
        "20s",
        Kind::Time(50..=HOUR, |config| &mut config.timing.pong),
        "How long a WebSocket may take to answer a ping; a phone that sleeps needs a while",
    ),
    row(
        "request-head",
        "10s",
        Kind::Time(100..=10 * MINUTE, |config| &mut config.timing.request_head),
        "From accept to the end of a request's head, TLS included",
    ),
    row(
        "request-body",
        "30s",
        Kind::Time(100..=HOUR, |config| &mut config.timing.request_body),
        "From a request's head to the end of its body; the body is held in memory meanwhile",
    ),
    row(
        "poll-timeout",
        "60s",
        Kind::Time(SECOND..=HOUR, |config| &mut config.timing.poll_timeout),
        "The longest that a long poll may ask to be held; proxies cut held requests",
    ),
    row(
        "retry-min",
        "1500ms",
        Kind::Time(10..=10 * MINUTE, |config| &mut config.timing.retry_min),
        "Shortest wait before an EventSource reconnects; random, to spread a crowd",
    ),
    row(
        "retry-max",
        "3s",
        Kind::Time(10..=10 * MINUTE, |config| &mut config.timing.retry_max),
        "Longest wait before an EventSource reconnects",
    ),
    row(
        "idempotency-for",
        "5min",
        Kind::Time(SECOND..=24 * HOUR, |config| {
            &mut config.timing.idempotency_for
        }),
        "How long a publish may be retried under its Idempotency-Key",
    ),
];

pub(super) static LIMITS: &[Setting] = &[
    shown(
        "connections",
        "auto",
        Kind::NumberOrAuto(1..=1_000_000, |config| &mut config.limits.connections),
        "Open connections; auto is 90 % of the descriptor limit, at most 100_000",
    ),
    row(
        "streams",
        "1024",
        Kind::Number(1..=100_000, |config| &mut config.limits.streams),
        "Streams at once on one HTTP/2 connection; Chromium itself stops at 256",
    ),
    row(
        "reader-topics",
        "256",
        Kind::Number(1..=10_000, |config| &mut config.limits.reader_topics),
        "Topics of one reader; each costs memory and a place in the topic's list",
    ),
    row(
        "head-bytes",
        "16KiB",
        // Below 8 KiB hyper refuses to be configured.
        Kind::Size(8 * KIB..=MIB, |config| &mut config.limits.head_bytes),
        "Bytes of a request's head, which every connection may make the server hold",
    ),
    shown(
        "event-bytes",
        "256KiB",
        Kind::Size(64..=64 * MIB, |config| &mut config.limits.event_bytes),
        "Bytes of one event's payload; a WebSocket message may have six times that and 4KiB",
    ),
    shown(
        "topic-bytes",
        "64MiB",
        Kind::Size(KIB..=1024 * GIB, |config| &mut config.limits.topic_bytes),
        "Bytes of events retained a topic, so that a noisy one leaves room for the others",
    ),
    shown(
        "topic-events",
        "100_000",
        Kind::Number(1..=100_000_000, |config| &mut config.limits.topic_events),
        "Events retained a topic; small events cost more than their bytes",
    ),
    shown(
        "log-bytes",
        "512MiB",
        Kind::Size(KIB..=1024 * GIB, |config| &mut config.limits.log_bytes),
        "Bytes of events retained in all; most of the server's memory",
    ),
    shown(
        "topics",
        "10_000",
        Kind::Number(1..=10_000_000, |config| &mut config.limits.topics),
        "Topics retained; anybody who publishes can name a new one",
    ),
    row(
        "batch-bytes",
        "4MiB",
        Kind::Size(KIB..=GIB, |config| &mut config.limits.batch_bytes),
        "Bytes of one ndjson publish, which is held whole because it is all or none",
    ),
    row(
        "batch-events",
        "10_000",
        Kind::Number(1..=1_000_000, |config| &mut config.limits.batch_events),
        "Events of one ndjson publish, which are appended under one lock",
    ),
    row(
        "idempotency-keys",
        "100_000",
        Kind::Number(1..=10_000_000, |config| &mut config.limits.idempotency_keys),
        "Idempotency keys remembered",
    ),
    row(
        "cut-keys",
        "10_000",
        Kind::Number(0..=1_000_000, |config| &mut config.limits.cut_keys),
        "Keys remembered by which readers may have their connections cut; 0 remembers none",
    ),
    row(
        "http1-unsent",
        "256KiB",
        Kind::Size(4 * KIB..=64 * MIB, |config| &mut config.limits.http1_unsent),
        "Bytes that may wait for a slow reader on HTTP/1.1 or WebSocket, the kernel's included",
    ),
    row(
        "http2-unsent",
        "1MiB",
        Kind::Size(16 * KIB..=GIB, |config| &mut config.limits.http2_unsent),
        "Bytes that may wait for a slow reader on HTTP/2, all streams of the connection together",
    ),
    row(
        "poll-events",
        "1000",
        Kind::Number(1..=1_000_000, |config| &mut config.limits.poll_events),
        "Events of one long poll's answer, which is built whole",
    ),
    row(
        "poll-bytes",
        "256KiB",
        Kind::Size(KIB..=64 * MIB, |config| &mut config.limits.poll_bytes),
        "Bytes of one long poll's answer; one event is always sent",
    ),
    row(
        "bridge-bytes",
        "16MiB",
        Kind::Size(64 * KIB..=16 * GIB, |config| {
            &mut config.limits.bridge_bytes
        }),
        "Bytes of messages that a bridge holds which are not published yet; one is always taken",
    ),
    row(
        "socket-io-sessions",
        "10_000",
        Kind::Number(1..=1_000_000, |config| {
            &mut config.limits.socket_io_sessions
        }),
        "Sessions of Socket.IO; one that polls outlives its connections",
    ),
];
