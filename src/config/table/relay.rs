//! The rows of a relay.

use super::Kind;
use super::Setting;
use super::row;
use super::shown;

pub(super) static RELAY: &[Setting] = &[
    shown(
        "relay-entries",
        "1_000_000",
        Kind::Number(10_000..=1_000_000_000, |config| {
            &mut config.relaying.entries
        }),
        "Batches of events that the relay keeps, about; who was away for longer is told of a gap",
    ),
    row(
        "relay-timeout",
        "5s",
        Kind::Time(100..=60_000, |config| &mut config.relaying.timeout),
        "For the relay to answer, and for a publish to come back from it",
    ),
    row(
        "relay-waiting",
        "10_000",
        Kind::Number(1..=1_000_000, |config| &mut config.relaying.waiting),
        "Batches of events on their way to the relay at once",
    ),
    row(
        "relay-entry-bytes",
        "16MiB",
        Kind::Size(4096..=(64 << 20), |config| &mut config.relaying.entry_bytes),
        "Bytes of a batch with what goes around it: what the broker takes as one entry",
    ),
];
