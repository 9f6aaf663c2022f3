//! Sources that are spoken to over TLS, with a CA of their own: what is subscribed, and the one line of what is not.

use crate::broker::Broker;
#[cfg(feature = "nats")]
use crate::broker::{PASSWORD, USER};
use crate::seen::{begin, events, serve, until_said, until_told};

/// How the same place is asked for.
pub struct Way {
    /// Without TLS, and with it.
    pub schemes: (&'static str, &'static str),
    /// Before the host.
    pub who: &'static str,
    /// Where it takes cleartext, if it does, and TLS.
    pub ports: (Option<u16>, u16),
    /// Behind the `?`.
    pub rest: &'static str,
}

impl Way {
    fn url(&self, scheme: &str, who: &str, port: u16, cacert: &str) -> String {
        format!("{scheme}://{who}localhost:{port}?{}{cacert}", self.rest)
    }

    /// Begins with this URL and waits until it is said why nothing is subscribed, once.
    #[track_caller]
    fn refused(&self, url: &str, words: &str) {
        let server = begin(url, &[]);
        until_said(&server, words);
        let log = server.stderr();
        let lines = log
            .lines()
            .filter(|line| line.contains("it is tried again"));
        assert_eq!(lines.count(), 1, "{url}: {log}");
        assert!(!log.contains("cret"), "{log}");
    }

    /// What goes wrong with TLS, with each kind of source.
    pub fn fails(&self, broker: &Broker, wrong_password: &str) {
        let (plain, secure) = self.schemes;
        let cacert = format!("&{}", broker.cacert());
        let untrusted = "invalid peer certificate: UnknownIssuer";
        let url = |scheme, who, port, cacert: &str| self.url(scheme, who, port, cacert);
        self.refused(&url(secure, self.who, self.ports.1, ""), untrusted);
        let wrong = url(secure, "user:wrong-cret@", self.ports.1, &cacert);
        self.refused(&wrong, wrong_password);
        // NATS says by itself whether TLS is to follow.
        if plain != "nats" {
            let hint = format!("with TLS the URL is {secure}://");
            self.refused(&url(plain, self.who, self.ports.1, ""), &hint);
        }
        if let (Some(port), "redis" | "nats" | "amqp") = (self.ports.0, plain) {
            let hint = format!("without TLS, for which the URL is {plain}://");
            self.refused(&url(secure, self.who, port, &cacert), &hint);
        }
    }
}

#[test]
fn redis() {
    let Some(broker) = Broker::redis() else {
        return;
    };
    let way = Way {
        schemes: ("redis", "rediss"),
        who: ":a-se%3Acret@",
        ports: (Some(broker.port), broker.secure),
        rest: "channel=a",
    };
    way.fails(&broker, "authentication failed");
    let cacert = format!("&{}", broker.cacert());
    let server = serve(&way.url("rediss", way.who, broker.secure, &cacert), &[]);
    broker.redis_cli(&["publish", "a", "1"]);
    until_told(&server, 1, 0);
    assert_eq!(events(&server, "a"), [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(feature = "nats")]
async fn nats() {
    let (Some(broker), Some(plain)) = (Broker::natss(), Broker::nats()) else {
        return;
    };
    let way = Way {
        schemes: ("nats", "tls"),
        who: "user:a-se%3Acret@",
        ports: (Some(plain.port), broker.port),
        rest: "subject=a",
    };
    way.fails(&broker, "it does not take this user and password");
    let cacert = format!("&{}", broker.cacert());
    for scheme in ["tls", "nats"] {
        let server = serve(&way.url(scheme, way.who, broker.port, &cacert), &[]);
        let options = async_nats::ConnectOptions::new()
            .user_and_password(USER.into(), PASSWORD.into())
            .add_root_certificates(broker.dir.join("certs/ca.pem"));
        let client = options.connect(format!("tls://localhost:{}", broker.port));
        let client = client.await.expect("it is there");
        client.publish("a", "1".into()).await.expect("it is said");
        client.flush().await.expect("it is sent");
        until_told(&server, 1, 0);
    }
}

#[test]
#[cfg(feature = "mqtt")]
fn mqtt() {
    let Some(broker) = Broker::mosquitto() else {
        return;
    };
    let way = Way {
        schemes: ("mqtt", "mqtts"),
        who: "user:a-se%3Acret@",
        ports: (Some(broker.port), broker.secure),
        rest: "filter=a",
    };
    way.fails(&broker, "it does not take this user and password");
}
