//! A replica in this process: a log and its link.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use triwire::event::EventId;
use triwire::log::{Appended, Limits, Log, Reader, Start};
use triwire::problem::Problem;
use triwire::relay;
use triwire::replica::link::Link;

use crate::broker::{Broker, limits};
use crate::support::reading;
use crate::support::reading::{draft, rest};
use crate::support::server::PATIENCE;

pub struct Replica {
    pub log: Arc<Log>,
    pub link: Arc<Link>,
    running: tokio::task::JoinHandle<relay::Fault>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Replica {
    /// One that has all that the broker has.
    pub async fn new(broker: &Broker) -> Replica {
        Replica::with(broker, limits()).await
    }

    pub async fn with(broker: &Broker, limits: relay::Limits) -> Replica {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH);
        let clock = move || now().map_or(0, |now| now.as_millis() as u64);
        let log = Log::new(Limits::default(), "s", 1, Box::new(clock));
        let link = Link::new(broker.relay(limits), &log, limits);
        let mut running = tokio::spawn(link.clone().run());
        tokio::select! {
            () = link.caught_up() => {}
            fault = &mut running => panic!("{fault:?}"),
            () = tokio::time::sleep(PATIENCE) => panic!("{:?}", link.hears()),
        }
        let replica = Replica { log, link, running };
        replica.comes_back().await;
        replica
    }

    pub async fn publish(&self, text: &str) -> Result<Appended, Problem> {
        self.log.publish(vec![draft(text)], None).await
    }

    /// Publishes until it is taken; what was refused must not be in the log.
    pub async fn publish_at_last(&self, text: &str) -> Appended {
        let began = Instant::now();
        loop {
            match self.publish(text).await {
                Ok(done) => return done,
                Err(problem) => assert_eq!(problem.kind, "relay-away", "{}", problem.detail),
            }
            assert!(began.elapsed() < PATIENCE, "it is not taken");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Until it can be read and written to.
    pub async fn comes_back(&self) {
        until("it is back", || {
            let words = self.log.ready().err().map(|problem| problem.detail);
            self.link.hears().is_ok() && words.is_none_or(|words| words.contains("says of itself"))
        })
        .await;
    }

    pub async fn goes_away(&self) {
        until("it is away", || self.link.hears().is_err()).await;
    }

    /// Until it has what another has.
    pub async fn has(&self, id: EventId) {
        until("it follows", || self.log.head() >= id).await;
    }

    pub fn reader(&self, start: Start) -> Reader {
        reading::reader(&self.log, start)
    }

    pub fn all(&self) -> Vec<(EventId, String)> {
        rest(&mut self.reader(Start::After(EventId::ZERO)))
    }

    pub fn gaps(&self) -> u64 {
        self.log.carried().map_or(0, |carried| carried.gaps)
    }
}

/// Waits for a fact.
pub async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
