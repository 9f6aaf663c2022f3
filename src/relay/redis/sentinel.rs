//! Sentinels, which say where the master is now.

use redis::aio::MultiplexedConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, ConnectionAddr, RedisResult};
use tokio::sync::Mutex;

/// Several of them, of whom one may be away.
pub(super) struct Sentinels(Mutex<SentinelClient>);

impl Sentinels {
    /// `[USER:PASSWORD@]HOST:PORT,HOST:PORT/MASTER`; user and password are the master's.
    pub(super) fn parse(rest: &str) -> Result<Sentinels, String> {
        let wanted = "it is redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/MASTER";
        let (places, master) = rest.split_once('/').ok_or(wanted)?;
        if master.is_empty() {
            return Err(wanted.to_owned());
        }
        let (who, places) = match places.rsplit_once('@') {
            Some((who, places)) => (Some(who), places),
            None => (None, places),
        };
        let place = |place: &str| {
            let (host, port) = place.rsplit_once(':').unwrap_or((place, "26379"));
            let port = port.parse().map_err(|_| wanted.to_owned())?;
            Ok(ConnectionAddr::Tcp(host.to_owned(), port))
        };
        let places: Result<Vec<ConnectionAddr>, String> = places.split(',').map(place).collect();
        let builder = SentinelClientBuilder::new(places?, master, SentinelServerType::Master);
        let mut builder = builder.map_err(|error| error.to_string())?;
        if let Some((user, password)) = who.and_then(|who| who.split_once(':')) {
            let plain = |text: &str| {
                let text = percent_encoding::percent_decode_str(text).decode_utf8();
                text.map(|text| text.into_owned())
                    .map_err(|_| wanted.to_owned())
            };
            if !user.is_empty() {
                builder = builder.set_client_to_redis_username(plain(user)?);
            }
            builder = builder.set_client_to_redis_password(plain(password)?);
        }
        let client = builder.build().map_err(|error| error.to_string())?;
        Ok(Sentinels(Mutex::new(client)))
    }

    /// A connection to the master of now.
    pub(super) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let mut client = self.0.lock().await;
        client.get_async_connection_with_config(config).await
    }
}
