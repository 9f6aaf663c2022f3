//! The rows of collections: how much strangers can have kept, and how long they may look for it.
//!
//! `docs/limits.md` says of each what happens when it is reached.

use super::Kind;
use super::Setting;
use super::row;
use super::shown;
use crate::config::value::GIB;
use crate::config::value::KIB;
use crate::config::value::MIB;
use crate::config::value::MINUTE;

pub(super) static COLLECTIONS: &[Setting] = &[
    shown(
        "document-bytes",
        "256KiB",
        Kind::Size(64..=64 * MIB, |config| {
            &mut config.limits.store.document_bytes
        }),
        "Bytes of a document, of a patch and of a schema; each change is an event that carries it",
    ),
    row(
        "document-depth",
        "64",
        // The parser stops at 128, which a document within a message must not reach.
        Kind::Number(1..=100, |config| &mut config.limits.store.document_depth),
        "Objects and lists within each other; whoever reads them may go down by recursion",
    ),
    row(
        "patch-operations",
        "100",
        Kind::Number(1..=10_000, |config| {
            &mut config.limits.store.patch_operations
        }),
        "Operations of one JSON Patch, during which all others who write wait",
    ),
    row(
        "page-documents",
        "1000",
        Kind::Number(1..=100_000, |config| {
            &mut config.limits.store.page_documents
        }),
        "Documents of one page of a list, which is built whole",
    ),
    row(
        "page-bytes",
        "4MiB",
        Kind::Size(KIB..=GIB, |config| &mut config.limits.store.page_bytes),
        "Bytes of one page of a list, which is held until it is sent",
    ),
    row(
        "list-time",
        "1s",
        Kind::Time(10..=10 * MINUTE, |config| &mut config.timing.list_time),
        "How long one list may look for its documents; others wait meanwhile",
    ),
    shown(
        "collections",
        "1000",
        Kind::Number(1..=100_000, |config| &mut config.limits.store.collections),
        "Collections; anybody who writes can name a new one",
    ),
    row(
        "collection-indexes",
        "8",
        Kind::Number(0..=100, |config| &mut config.limits.store.indexes),
        "Indexes of a collection, made when a list first names a field; each makes writing slower",
    ),
    row(
        "watches",
        "1000",
        Kind::Number(0..=100_000, |config| &mut config.limits.store.watches),
        "Watches with different filters at once, each of which looks at every change of its collection",
    ),
    shown(
        "collections-memory",
        "256MiB",
        Kind::Size(MIB..=256 * GIB, |config| &mut config.limits.store.memory),
        "Bytes of all collections together when they are in memory, without --data",
    ),
    row(
        "socket-requests",
        "64",
        Kind::Number(1..=100_000, |config| {
            &mut config.limits.store.socket_requests
        }),
        "Requests of one WebSocket under way, a list for sixteen; it is not read while there are so many",
    ),
];
