//! Every way of carrying a session works on every listener, and is counted.

use serde_json::{Value, json};

use super::client::{Carry, Client, LINKS};
use super::support::client::link::Target;
use super::support::server::Server;

fn wire(stats: &Value) -> [u64; 4] {
    let counts = &stats["wires"]["socket_io"];
    [
        "connections",
        "streams",
        "connections_total",
        "streams_total",
    ]
    .map(|name| counts[name].as_u64().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_everywhere() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    for link in LINKS {
        for carry in Carry::ALL {
            let what = format!("{carry:?} on {link}");
            let before = wire(&server.stats());
            let mut client = Client::connect(&target, link, carry).await;
            let document = json!({ "b": [1, "ü"] });
            let said = client
                .call("POST", &[json!("items"), document.clone()])
                .await;
            assert_eq!(said[0]["b"], document["b"], "{what}");
            let [_, streams, _, total] = wire(&server.stats());
            assert_eq!((streams, total), (1, before[3] + 1), "{what}");
            client.leave().await;
            server.until(&what, |stats| wire(stats)[1] == 0);
        }
    }
}
