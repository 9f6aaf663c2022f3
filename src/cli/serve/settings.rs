//! What each part is given of the settings: its own, as it calls them.

use crate::api::publish;
use crate::api::timeplus::queries::registry;
use crate::config::{Config, Limits};
use crate::live;
use crate::live::engine;
use crate::log;
use crate::relay;
use crate::server;
use crate::source::bridge::carry;
use crate::store;
use crate::store::announce;
use crate::store::embedded;
use crate::store::postgres;
use crate::store::postgres::prune;
use crate::wire;
use crate::wire::socket_io;

pub(super) fn log_limits(config: &Config) -> log::Limits {
    let limits = &config.limits;
    log::Limits {
        topic_bytes: limits.topic_bytes as u64,
        topic_events: limits.topic_events,
        total_bytes: limits.log_bytes as u64,
        topics: limits.topics,
        reader_topics: limits.reader_topics,
        keys: limits.idempotency_keys,
        keys_for: config.timing.idempotency_for,
    }
}

pub(super) fn relay_limits(config: &Config) -> relay::Limits {
    let relaying = &config.relaying;
    relay::Limits {
        entries: relaying.entries as u64,
        timeout: relaying.timeout,
        waiting: relaying.waiting,
        entry_bytes: relaying.entry_bytes,
    }
}

pub(super) fn bridge_limits(config: &Config) -> carry::Limits {
    carry::Limits {
        event_bytes: config.limits.event_bytes,
        held_bytes: config.limits.bridge_bytes,
    }
}

pub(super) fn live_limits(config: &Config) -> live::Limits {
    let Config { timing, limits, .. } = config;
    let Limits { live, .. } = limits;
    live::Limits {
        queries: live.queries,
        subscriptions: live.subscriptions,
        subscription_ttl: timing.subscription_ttl,
        reader_topics: limits.reader_topics,
        engine: engine::Limits {
            tables: live.tables,
            columns: live.table_columns,
            table_rows: live.table_rows as u64,
            table_bytes: live.table_bytes as u64,
            tables_bytes: live.tables_bytes as u64,
            query_bytes: live.query_bytes,
            query_time: timing.query_time,
            // SQLite has one bound for all that it does in this process.
            query_memory: (live.query_memory + limits.store.memory) as u64,
            states_bytes: live.query_memory / 4,
            groups: live.query_groups,
            groups_bytes: live.groups_memory,
            result_bytes: live.query_result,
            flow_bytes: live.stream_result,
        },
    }
}

pub(super) fn announce_limits(config: &Config) -> announce::Limits {
    announce::Limits {
        event_bytes: config.limits.event_bytes,
        watches: config.limits.store.watches,
    }
}

pub(super) fn embedded_settings(config: &Config) -> embedded::Settings {
    embedded::Settings {
        dir: config.data.clone(),
        memory_bytes: config.limits.store.memory,
        list_time: config.timing.list_time,
        limits: store_limits(config),
    }
}

pub(super) fn postgres_settings(config: &Config) -> postgres::Settings {
    let settings = &config.postgres;
    postgres::Settings {
        connections: settings.connections,
        list_time: config.timing.list_time,
        outbox: prune::Kept {
            age: settings.outbox_age,
            changes: settings.outbox_changes,
        },
        limits: store_limits(config),
    }
}

pub(super) fn store_limits(config: &Config) -> store::Limits {
    let limits = &config.limits;
    store::Limits {
        document_bytes: limits.store.document_bytes,
        document_depth: limits.store.document_depth,
        patch_operations: limits.store.patch_operations,
        bulk_bytes: limits.batch_bytes,
        bulk_documents: limits.batch_events,
        per_page: limits.store.page_documents as u64,
        page_bytes: limits.store.page_bytes,
        collections: limits.store.collections,
        collection_indexes: limits.store.indexes,
    }
}

pub(super) fn timeplus_limits(config: &Config) -> registry::Limits {
    let Config { timing, limits, .. } = config;
    registry::Limits {
        running: limits.live.timeplus_queries,
        ended: limits.live.timeplus_ended,
        ended_for: timing.timeplus_ended_for,
        stall: timing.stall,
    }
}

pub(super) fn publish_limits(config: &Config) -> publish::Limits {
    publish::Limits {
        event_bytes: config.limits.event_bytes as u64,
        batch_bytes: config.limits.batch_bytes as u64,
        batch_events: config.limits.batch_events,
        body_time: config.timing.request_body,
    }
}

pub(super) fn wire_settings(config: &Config, name: &str) -> wire::Settings {
    let Config { timing, limits, .. } = config;
    wire::Settings {
        server: name.to_owned(),
        heartbeat: timing.heartbeat,
        ping: timing.ping,
        pong: timing.pong,
        retry_ms: (
            timing.retry_min.as_millis() as u64,
            timing.retry_max.as_millis() as u64,
        ),
        poll_timeout: timing.poll_timeout,
        poll_events: limits.poll_events,
        poll_bytes: limits.poll_bytes,
        message_bytes: limits.websocket_bytes(),
        requests: limits.store.socket_requests,
        websocket_http2: !config.no_websocket_http2,
    }
}

pub(super) fn socket_io_limits(config: &Config) -> socket_io::Limits {
    let Config { timing, limits, .. } = config;
    socket_io::Limits {
        sessions: limits.socket_io_sessions,
        message: limits.websocket_bytes(),
        body_time: timing.request_body,
        // Half of the bound: the kernel has a part of it too.
        room: limits.http1_unsent / 2,
        requests: limits.store.socket_requests,
        ping: timing.ping,
        pong: timing.pong,
        greeting: timing.request_head,
    }
}

pub(super) fn server_settings(
    config: &Config,
    shards: usize,
    descriptors: u64,
) -> server::Settings {
    let Config { timing, limits, .. } = config;
    server::Settings {
        shards,
        head_time: timing.request_head,
        head_bytes: limits.head_bytes,
        streams: u32::try_from(limits.streams).unwrap_or(u32::MAX),
        http1_unsent: limits.http1_unsent,
        http2_unsent: limits.http2_unsent,
        stall: timing.stall,
        dead: timing.dead,
        connections: limits.connections_within(descriptors),
        h2c_upgrade: !config.no_h2c_upgrade,
        websocket_http2: !config.no_websocket_http2,
        drain: timing.drain,
    }
}
