//! Redis Cluster: one stream is one key, which one node has. Whichever node is asked says which, and so does one that has
//! lost it to another.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, Value, cmd};

use super::{client, fault};
use crate::relay::Fault;

/// How often it is sent on before it tries anew: the nodes may not agree yet.
const SENT_ON: usize = 5;

/// Nodes by which the others are found.
pub(super) struct Cluster {
    /// `redis` or `rediss`.
    scheme: &'static str,
    /// `USER:PASSWORD@`, as it stood there, or nothing.
    who: String,
    places: Vec<String>,
    cacert: Option<String>,
    /// The one that had the stream last.
    last: Mutex<Option<String>>,
}

impl Cluster {
    /// `[USER:PASSWORD@]HOST:PORT,HOST:PORT`; user and password are those of all nodes.
    pub(super) fn parse(
        scheme: &'static str,
        rest: &str,
        cacert: Option<String>,
    ) -> Result<Cluster, String> {
        let (who, places) = match rest.rsplit_once('@') {
            Some((who, places)) => (format!("{who}@"), places),
            None => (String::new(), rest),
        };
        let places = places.trim_end_matches('/').split(',');
        let cluster = Cluster {
            scheme,
            who,
            places: places.map(str::to_owned).collect(),
            cacert,
            last: Mutex::default(),
        };
        for place in &cluster.places {
            if !place.contains(':') {
                return Err(format!(
                    "it is {scheme}+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT"
                ));
            }
            cluster.client(place)?;
        }
        Ok(cluster)
    }

    fn client(&self, place: &str) -> Result<redis::Client, String> {
        let url = format!("{}://{}{place}", self.scheme, self.who);
        client(&url, self.cacert.as_deref())
    }

    /// A connection to the node that has this key now.
    pub(super) async fn connect(
        &self,
        key: &str,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Fault> {
        let known = self.last().take();
        let mut places: VecDeque<String> = known.into_iter().chain(self.places.clone()).collect();
        let (mut sent_on, mut last) = (0, None);
        while let Some(place) = places.pop_front() {
            match self.owner(&place, key, config).await {
                Ok(Ok(connection)) => {
                    *self.last() = Some(place);
                    return Ok(connection);
                }
                Ok(Err(owner)) if sent_on < SENT_ON => {
                    sent_on += 1;
                    places.push_front(owner);
                }
                Ok(Err(owner)) => {
                    return Err(Fault::passing(format!(
                        "the nodes of the cluster do not agree who has the stream: {place} says {owner}"
                    )));
                }
                Err(fault) if fault.is_final => return Err(fault),
                Err(Fault { words, .. }) => {
                    last = Some(Fault::passing(format!("{place}: {words}")));
                }
            }
        }
        Err(last.unwrap_or_else(|| Fault::passing("no node of the cluster is there")))
    }

    /// A connection to a node that has the key, or who has it.
    async fn owner(
        &self,
        place: &str,
        key: &str,
        config: &AsyncConnectionConfig,
    ) -> Result<Result<MultiplexedConnection, String>, Fault> {
        let client = self.client(place).map_err(Fault::passing)?;
        let connecting = client.get_multiplexed_async_connection_with_config(config);
        let mut connection = connecting.await.map_err(|error| fault(&error))?;
        let mut exists = cmd("EXISTS");
        exists.arg(key);
        let answer = connection.send_packed_command(&exists).await;
        let error = match answer {
            Ok(Value::ServerError(error)) => RedisError::from(error),
            Ok(_) => return Ok(Ok(connection)),
            Err(error) => error,
        };
        match (error.code(), error.detail()) {
            (Some("MOVED"), Some(detail)) => Ok(Err(moved(detail, place))),
            _ => Err(fault(&error)),
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where to go: `SLOT HOST:PORT`, of which the host may be left out when it is the same.
fn moved(detail: &str, from: &str) -> String {
    let to = detail.rsplit(' ').next().unwrap_or_default();
    match to.strip_prefix(':') {
        Some(port) => {
            let host = from.rsplit_once(':').map_or(from, |(host, _)| host);
            format!("{host}:{port}")
        }
        None => to.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_who_has_it() {
        assert_eq!(moved("3999 127.0.0.1:6381", "a:1"), "127.0.0.1:6381");
        assert_eq!(moved("3999 :6381", "a:1"), "a:6381");
    }

    #[test]
    fn what_is_no_cluster_is_refused() {
        for bad in ["", "a", "a:b", "a:1,b", "u:p@"] {
            assert!(Cluster::parse("redis", bad, None).is_err(), "{bad}");
        }
        for good in ["a:1", "a:1,b:2", "u:p@a:1,b:2", ":p%40@a:1/"] {
            assert!(Cluster::parse("redis", good, None).is_ok(), "{good}");
        }
    }
}
