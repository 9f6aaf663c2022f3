//! One query with one subscriber and with ten thousand: what the engine does must not depend on it. Each result differs
//! from the one before, so that each is told.

use std::time::Duration;

use tokio::time::sleep;
use triwire::load::Result;
use triwire::load::clock;

use super::Options;
use super::alone::Server;
use super::rows::{self, Rows, TABLE};
use super::server::WIRE;
use super::watch::Watch;

/// Streams of one subscription.
const A_SUBSCRIPTION: usize = 100;

pub async fn run(options: &Options) -> Result<()> {
    let (counts, settle, measured) = match options.quick {
        false => (
            [1, 10_000, 1],
            Duration::from_secs(5),
            Duration::from_secs(20),
        ),
        true => ([1, 200, 1], Duration::from_secs(1), Duration::from_secs(2)),
    };
    println!("\n## One query, every 200 ms, beside 1,000 rows/s: subscribers\n");
    println!("CPU in seconds a second; subscribers are streams of HTTP/2, 1,000 a connection.\n");
    println!(
        "| subscribers | triwire-fresh | triwire-whole | whole server | results/s on each | wrong |"
    );
    println!("|--:|--:|--:|--:|--:|--:|");
    let server = Server::start(&options.triwire, &[])?;
    let mut api = server.api(WIRE).await?;
    rows::declare(&mut api).await?;
    let rows = Rows::start(&server, 1_000, 100).await?;
    let sql = format!(
        "select k0, max(n) as n from {TABLE} where ts > now() - interval '10' second group by k0"
    );
    api.query("shared", &sql, 200).await?;
    let names = ["shared".to_owned()];
    for count in counts {
        let mut streams = Vec::new();
        while streams.len() < count {
            let id = api.subscribe(&names).await?;
            let more = (count - streams.len()).min(A_SUBSCRIPTION);
            streams.extend(std::iter::repeat_n(id, more));
        }
        let watch = Watch::open(&server, &streams, None).await?;
        sleep(settle).await;
        watch.begin();
        let (before, from) = (server.used()?, clock::now());
        sleep(measured).await;
        let time = clock::now() - from;
        let used = server.used()?.since(&before, time);
        let seen = watch.seen();
        let a_second = seen.results as f64 / count as f64 * clock::SECOND as f64 / time as f64;
        println!(
            "| {count} | {:.4} | {:.4} | {:.3} | {a_second:.2} | {} |",
            used.fresh,
            used.all_again,
            used.whole,
            seen.wrong.len()
        );
    }
    rows.stop().await?;
    server.stop()
}
