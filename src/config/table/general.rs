//! The rows that say where the server listens, who it is and who may come in.

use super::Kind;
use super::Setting;
use super::row;
use super::shown;
use crate::config::value;
use crate::config::value::HOUR;

pub(super) static LISTENERS: &[Setting] = &[
    shown(
        "http1",
        "localhost:8080",
        Kind::Listen(|config| &mut config.listeners.http1),
        "Where HTTP/1.1 is spoken, cleartext",
    ),
    shown(
        "h2c",
        "localhost:8081",
        Kind::Listen(|config| &mut config.listeners.h2c),
        "Where HTTP/2 is spoken, cleartext: prior knowledge and Upgrade: h2c",
    ),
    shown(
        "ws",
        "localhost:8082",
        Kind::Listen(|config| &mut config.listeners.ws),
        "Where HTTP/1.1 is spoken, cleartext, the port for WebSocket",
    ),
    shown(
        "http2",
        "localhost:8443",
        Kind::Listen(|config| &mut config.listeners.http2),
        "Where HTTP/2 is spoken over TLS",
    ),
    shown(
        "http1s",
        "localhost:8444",
        Kind::Listen(|config| &mut config.listeners.http1s),
        "Where HTTP/1.1 is spoken over TLS",
    ),
    shown(
        "wss",
        "localhost:8445",
        Kind::Listen(|config| &mut config.listeners.wss),
        "Where HTTP/1.1 is spoken over TLS, the port for WebSocket",
    ),
    row(
        "no-h2c-upgrade",
        "false",
        Kind::Switch(|config| &mut config.no_h2c_upgrade),
        "Take HTTP/2 on h2c by prior knowledge only, not by Upgrade: h2c",
    ),
    row(
        "no-websocket-http2",
        "false",
        Kind::Switch(|config| &mut config.no_websocket_http2),
        "Do not take WebSockets on HTTP/2 (RFC 8441)",
    ),
];

pub(super) static SERVER: &[Setting] = &[
    shown(
        "certs",
        "certs",
        Kind::Directory(|config| &mut config.certs),
        "Directory of ca.pem, server.pem and their keys; missing ones are made",
    ),
    shown(
        "data",
        "",
        Kind::DirectoryOrNone(|config| &mut config.data),
        "Directory of what must outlive a restart: tables, queries, subscriptions; without it, nothing does",
    ),
    shown(
        "store",
        "",
        Kind::Url(&value::STORE, |config| &mut config.store),
        "The Postgres that collections are in, instead of --data; rather in the file or the variable, since others see flags",
    ),
    shown(
        "relay",
        "",
        Kind::Url(&value::RELAY, |config| &mut config.relay),
        "What carries the log between replicas; without it, this is the only one. Rather in the file or the variable, since others see flags",
    ),
    shown(
        "subscribe",
        "",
        Kind::Urls(&value::BRIDGES, |config| &mut config.subscribe),
        "What others publish already, as events here; repeatable. Rather in the file or the variable, since others see flags",
    ),
    shown(
        "name",
        "",
        Kind::Name(|config| &mut config.name),
        "The replica's name in events and statistics; without it, the host's",
    ),
    shown(
        "open",
        "false",
        Kind::Switch(|config| &mut config.access.open),
        "Let anybody publish and subscribe; needed to listen on anything but loopback",
    ),
    shown(
        "allow-origin",
        "",
        Kind::Origins(|config| &mut config.access.allow_origin),
        "An origin whose pages may use this server, beside its own; repeatable",
    ),
    shown(
        "allow-host",
        "",
        Kind::Hosts(|config| &mut config.access.allow_host),
        "A name that Host may say, beside those of the certificate; repeatable",
    ),
    shown(
        "api-key",
        "",
        Kind::Keys(|config| &mut config.access.api_key),
        "A key of the Timeplus dialect (/api/v1beta2), which then needs one; rather in the file or the variable, since others see flags; repeatable",
    ),
    shown(
        "log-format",
        "human",
        Kind::LogFormat(|config| &mut config.log_format),
        "How stderr is written, and the ready line on stdout",
    ),
    shown(
        "metrics-every",
        "1s",
        Kind::TimeOrOff(50..=HOUR, |config| &mut config.metrics_every),
        "How often the machine's figures are published on the topic metrics",
    ),
    row(
        "shards",
        "auto",
        Kind::NumberOrAuto(1..=1024, |config| &mut config.shards),
        "Threads that carry connections; auto is one a core, more contend for them",
    ),
];
