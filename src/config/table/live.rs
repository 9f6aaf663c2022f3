//! The rows of live SQL: how much strangers can have kept and evaluated.
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

pub(super) static LIVE: &[Setting] = &[
    shown(
        "subscription-ttl",
        "10min",
        Kind::Time(100..=24 * HOUR, |config| {
            &mut config.timing.subscription_ttl
        }),
        "How long a subscription is kept after its last stream has closed",
    ),
    row(
        "queries",
        "10_000",
        Kind::Number(1..=1_000_000, |config| &mut config.limits.live.queries),
        "Named queries; one that nobody watches costs its text and its last result",
    ),
    row(
        "subscriptions",
        "10_000",
        Kind::Number(1..=1_000_000, |config| {
            &mut config.limits.live.subscriptions
        }),
        "Subscriptions; anybody can make one",
    ),
    row(
        "tables",
        "100",
        Kind::Number(2..=10_000, |config| &mut config.limits.live.tables),
        "Tables, the two that are built in among them",
    ),
    row(
        "table-columns",
        "100",
        Kind::Number(1..=1000, |config| &mut config.limits.live.table_columns),
        "Columns of a table",
    ),
    shown(
        "table-rows",
        "1_000_000",
        Kind::Number(1..=100_000_000, |config| &mut config.limits.live.table_rows),
        "Rows retained a table, for SQL that looks back; the most that a table may ask for",
    ),
    shown(
        "table-bytes",
        "128MiB",
        Kind::Size(64 * KIB..=64 * GIB, |config| {
            &mut config.limits.live.table_bytes
        }),
        "Bytes of rows retained a table",
    ),
    shown(
        "tables-bytes",
        "256MiB",
        Kind::Size(64 * KIB..=64 * GIB, |config| {
            &mut config.limits.live.tables_bytes
        }),
        "Bytes of rows retained of all tables, beside the log",
    ),
    row(
        "query-bytes",
        "16KiB",
        Kind::Size(64..=MIB, |config| &mut config.limits.live.query_bytes),
        "Bytes of a query; a long one takes long to read",
    ),
    shown(
        "query-time",
        "1s",
        Kind::Time(10..=10 * MINUTE, |config| &mut config.timing.query_time),
        "How long one evaluation of a query may take; others like it wait meanwhile",
    ),
    row(
        "query-memory",
        "768MiB",
        Kind::Size(16 * MIB..=256 * GIB, |config| {
            &mut config.limits.live.query_memory
        }),
        "Bytes that SQLite may take for everything: the tables, and what is evaluated",
    ),
    row(
        "query-groups",
        "100_000",
        Kind::Number(1..=10_000_000, |config| {
            &mut config.limits.live.query_groups
        }),
        "Groups of a query, each of which is kept",
    ),
    row(
        "groups-memory",
        "256MiB",
        Kind::Size(MIB..=256 * GIB, |config| {
            &mut config.limits.live.groups_memory
        }),
        "Bytes that the groups of all queries may hold, beside what SQLite takes",
    ),
    row(
        "query-result",
        "256KiB",
        Kind::Size(64..=64 * MIB, |config| &mut config.limits.live.query_result),
        "Bytes of a query's result, which is an event like others",
    ),
    row(
        "stream-result",
        "16MiB",
        Kind::Size(64..=1024 * MIB, |config| {
            &mut config.limits.live.stream_result
        }),
        "Bytes that a query of the Timeplus dialect tells at once",
    ),
    row(
        "timeplus-queries",
        "1000",
        Kind::Number(1..=100_000, |config| {
            &mut config.limits.live.timeplus_queries
        }),
        "Queries of the Timeplus dialect that run at once",
    ),
    row(
        "timeplus-ended",
        "1000",
        Kind::Number(0..=100_000, |config| &mut config.limits.live.timeplus_ended),
        "Queries of the Timeplus dialect that have ended and can still be asked about",
    ),
    row(
        "timeplus-ended-for",
        "10min",
        Kind::Time(0..=24 * HOUR, |config| {
            &mut config.timing.timeplus_ended_for
        }),
        "For how long a query of the Timeplus dialect that has ended can be asked about",
    ),
];
