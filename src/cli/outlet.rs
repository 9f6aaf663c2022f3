//! Where `publish` and `generate` publish: on a server, or to a relay without any.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use tokio::time::{Instant, sleep};

use super::remote::{self, Lost};
use crate::client;
use crate::client::{Failure, Format, Patience, Publisher, Unpublished};
use crate::event::{Draft, EventType, Payload, Topic};
use crate::problem::Problem;
use crate::relay;
use crate::relay::Stream;
use crate::replica::outbox::Terms;
use crate::replica::sender::Sender;

/// How long a broker may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Between two tries for the first connection.
const PAUSE: Duration = Duration::from_millis(200);

/// What is published goes here.
pub(super) enum Outlet<S> {
    /// A server's.
    Server(Box<Publisher<S>>),
    /// A relay's.
    Relay(Sender),
}

/// What says where: as for a server, or `--relay`.
pub(super) fn arguments(command: Command) -> Command {
    remote::arguments(command, Lost::WhileKeysLast).arg(
        Arg::new("relay")
            .long("relay")
            .value_name("URL")
            .env("TRIWIRE_RELAY")
            .hide_env_values(true)
            .help(
                "A relay, instead of a server: all servers that have it deliver what is published",
            ),
    )
}

/// Runs a client that publishes to its end, as [`remote::run`].
pub(super) fn run<S: FnMut(&str) + Copy, C: Future<Output = Result<(), Failure>>>(
    matches: &ArgMatches,
    say: S,
    client: impl FnOnce(Outlet<S>) -> C,
) -> ExitCode {
    match remote::given(matches, "relay") {
        // A server that was named is meant, whatever the environment says.
        Some(url) if remote::given(matches, "url").is_none() => {
            let patience = remote::patience(matches, Lost::WhileKeysLast);
            remote::end(async {
                let sender = connect(url, patience, say).await?;
                client(Outlet::Relay(sender)).await
            })
        }
        _ => remote::run(matches, Lost::WhileKeysLast, |place, patience| async move {
            let mut publisher = Publisher::new(place, patience, say);
            publisher.connect().await?;
            client(Outlet::Server(Box::new(publisher))).await
        }),
    }
}

async fn connect(
    url: &str,
    patience: Patience,
    mut say: impl FnMut(&str),
) -> Result<Sender, Failure> {
    let limits = relay::Limits {
        entries: 1_000_000,
        timeout: ANSWER,
        waiting: 64,
        entry_bytes: 16 << 20,
    };
    let relay = relay::open(url, Stream::Events, limits);
    let relay = relay.map_err(|mistake| Failure::local(format!("--relay: {mistake}")))?;
    let terms = Terms {
        answer: limits.timeout,
        done: patience.again.unwrap_or(Duration::from_secs(24 * 3_600)),
        most: limits.waiting,
        holds: true,
    };
    let since = Instant::now();
    let mut said = String::new();
    loop {
        match Sender::connect(relay.clone(), terms).await {
            Ok(sender) => return Ok(sender),
            Err(fault) if fault.is_final || since.elapsed() >= patience.first => {
                return Err(Failure::local(format!("--relay: {fault}")));
            }
            Err(fault) => {
                if fault.words != said {
                    say(&format!("{fault}; again in {:.1} s", PAUSE.as_secs_f64()));
                    said = fault.words;
                }
                sleep(PAUSE).await;
            }
        }
    }
}

impl<S: FnMut(&str)> Outlet<S> {
    /// As [`Publisher::publish`].
    pub(super) async fn publish(
        &mut self,
        draft: &client::Draft,
        payloads: &[Bytes],
    ) -> Result<(), Unpublished> {
        match self {
            Outlet::Server(publisher) => publisher.publish(draft, payloads).await,
            Outlet::Relay(sender) => {
                let (drafts, wrong) = drafts(draft, payloads);
                let sent = sender.publish(&drafts).await;
                let failure = match (sent, wrong) {
                    (Ok(()), None) => return Ok(()),
                    (Ok(()), Some(problem)) => (drafts.len(), problem),
                    (Err(unsent), _) => unsent,
                };
                Err(Unpublished {
                    done: failure.0,
                    failure: Failure::local(failure.1.detail),
                })
            }
        }
    }
}

/// Those up to the first that is malformed, and what is wrong with it.
fn drafts(draft: &client::Draft, payloads: &[Bytes]) -> (Vec<Draft>, Option<Problem>) {
    let mut drafts = Vec::with_capacity(payloads.len());
    for payload in payloads {
        match one(draft, payload) {
            Ok(draft) => drafts.push(draft),
            Err(problem) => return (drafts, Some(problem)),
        }
    }
    (drafts, None)
}

fn one(draft: &client::Draft, payload: &Bytes) -> Result<Draft, Problem> {
    let topic = Topic::new(&draft.topic)?;
    topic.check_unreserved()?;
    let event_type = draft
        .event_type
        .as_deref()
        .map(EventType::new)
        .transpose()?;
    Ok(Draft {
        topic,
        event_type: event_type.unwrap_or_default(),
        payload: match draft.format {
            Format::Json => Payload::json(payload.clone())?,
            Format::Text => Payload::text(payload.clone())?,
        },
    })
}
