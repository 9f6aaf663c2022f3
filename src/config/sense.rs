//! What settings must be to each other: values that are fine alone and make no sense together.
//!
//! Only sound values are compared, so that one slip is one line.

use std::net::SocketAddr;

use crate::config::Config;
use crate::config::listeners::Bind;
use crate::config::sources::Sources;
use crate::config::table;

/// One setting that must not exceed another of its kind, and why.
struct Order {
    small: &'static str,
    large: &'static str,
    why: &'static str,
}

const ORDERS: [Order; 6] = [
    Order {
        small: "event-bytes",
        large: "topic-bytes",
        why: "a topic must hold its largest event",
    },
    Order {
        small: "topic-bytes",
        large: "log-bytes",
        why: "all topics together must hold what one may",
    },
    Order {
        small: "retry-min",
        large: "retry-max",
        why: "they are the two ends of one range",
    },
    Order {
        small: "table-bytes",
        large: "tables-bytes",
        why: "all tables together must hold what one may",
    },
    Order {
        small: "tables-bytes",
        large: "query-memory",
        why: "the tables are in it",
    },
    Order {
        small: "document-bytes",
        large: "page-bytes",
        why: "a page must hold the largest document",
    },
];

/// A line for everything that makes no sense together.
pub(super) fn mistakes(config: &Config, sources: &Sources) -> Vec<String> {
    let out_of_order = |order| out_of_order(order, config, sources);
    let mut lines: Vec<String> = ORDERS.iter().filter_map(out_of_order).collect();
    lines.extend(all_off(config, sources));
    lines.extend(collisions(config, sources));
    lines.extend(exposed(config, sources));
    lines
}

fn out_of_order(order: &Order, config: &Config, sources: &Sources) -> Option<String> {
    let amount = |key| table::setting(key).amount(config);
    if amount(order.small) <= amount(order.large)
        || !sources.is_sound(order.small)
        || !sources.is_sound(order.large)
    {
        return None;
    }
    // Whoever was given is to blame; the default was not the user's idea.
    let line = match sources.place(order.large) {
        Some(place) => format!("{place}: is less than {}", described(order.small, sources)),
        None => format!(
            "{}: is more than {}",
            sources.place(order.small)?,
            described(order.large, sources)
        ),
    };
    Some(format!("{line}; {}", order.why))
}

fn all_off(config: &Config, sources: &Sources) -> Option<String> {
    let mut listeners = config.listeners.each().into_iter();
    let all = listeners.all(|(key, bind)| bind == Bind::Off && sources.is_sound(key));
    all.then(|| "all six listeners are off; turn one on, such as --http1 localhost:8080".to_owned())
}

fn collisions(config: &Config, sources: &Sources) -> Vec<String> {
    let mut lines = Vec::new();
    let mut earlier: Vec<(&str, Bind)> = Vec::new();
    for (key, bind) in config.listeners.each() {
        if sources.is_sound(key) {
            let taken = earlier
                .iter()
                .filter_map(|(by, at)| Some((*by, bind.overlap(*at)?)));
            lines.extend(taken.filter_map(|(by, address)| collision(key, by, address, sources)));
            earlier.push((key, bind));
        }
    }
    lines
}

/// Two defaults never collide, so there is somebody to tell.
fn collision(key: &str, by: &str, address: SocketAddr, sources: &Sources) -> Option<String> {
    let (place, by) = match sources.place(key) {
        Some(place) => (place, by),
        None => (sources.place(by)?, key),
    };
    let by = described(by, sources);
    Some(format!(
        "{place}: {address} is taken by {by}; use another port, or 0 for a free one"
    ))
}

/// Bound where others can reach it, and nobody said that they may.
fn exposed(config: &Config, sources: &Sources) -> Vec<String> {
    if config.access.open || !sources.is_sound("open") {
        return Vec::new();
    }
    let listeners = config.listeners.each().into_iter();
    let reachable = listeners.filter(|(key, bind)| !bind.is_local() && sources.is_sound(key));
    let line = |(key, bind): (&str, Bind)| {
        let place = sources.place(key)?;
        Some(format!(
            "{place}: {bind} can be reached from other machines; bind localhost, \
             or add --open, which lets anybody publish and subscribe"
        ))
    };
    reachable.filter_map(line).collect()
}

/// `log-bytes (triwire.toml: log-bytes)`, `log-bytes (512MiB by default)`
fn described(key: &str, sources: &Sources) -> String {
    match sources.place(key) {
        Some(place) => format!("{key} ({place})"),
        None => format!("{key} ({} by default)", table::setting(key).default),
    }
}
