//! Many distinct queries beside many rows: what the engine's threads cost, how late results are, and that no row is lost.

use std::time::Duration;

use hyper::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};
use triwire::load::Result;
use triwire::load::clock;

use super::Options;
use super::alone::{Api, Server};
use super::rows::{self, KEYS, Rows, TABLE};
use super::server::WIRE;
use super::watch::Watch;

/// Queries of a subscription: a reader has no more topics.
const A_SUBSCRIPTION: usize = 250;
/// A window of the queries, and a little more: then it is full.
const WINDOW: Duration = Duration::from_secs(62);
/// How long the first results of all queries may take.
const JOINED_WITHIN: Duration = Duration::from_secs(180);
/// What queries of groups ask of each group.
const AGGREGATES: [&str; 6] = [
    "count(*)",
    "sum(value)",
    "avg(value)",
    "min(value)",
    "max(value)",
    "stddev(value)",
];
/// Which rows they group: with [`KEYS`] this makes twenty shapes.
const FILTERS: [&str; 4] = [
    "",
    "value > 0.25 and ",
    "value > 0.5 and ",
    "value < 0.9 and ",
];

/// How much of it.
struct Size {
    counts: &'static [usize],
    a_second: u64,
    settle: Duration,
    measured: Duration,
    window: Duration,
}

pub async fn run(options: &Options) -> Result<()> {
    let size = match options.quick {
        false => Size {
            counts: &[1_000, 5_000],
            a_second: 10_000,
            settle: Duration::from_secs(5),
            measured: Duration::from_secs(20),
            window: WINDOW,
        },
        true => Size {
            counts: &[40],
            a_second: 1_000,
            settle: Duration::from_secs(2),
            measured: Duration::from_secs(3),
            window: Duration::ZERO,
        },
    };
    println!(
        "\n## {} rows/s into one table, queries fresh once a second\n",
        size.a_second
    );
    println!(
        "CPU in seconds a second; late: from the whole second to the event's id. The row of 0 queries is the bare \
         ingest of the same run.\n"
    );
    println!(
        "| queries | class | triwire-fresh | triwire-whole | triwire-front | whole server | results/s | late p50 | late p99 | wrong |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for &count in size.counts {
        run_count(options, &size, count).await?;
    }
    Ok(())
}

async fn run_count(options: &Options, size: &Size, count: usize) -> Result<()> {
    let server = Server::start(&options.triwire, &[])?;
    let mut api = server.api(WIRE).await?;
    rows::declare(&mut api).await?;
    let rows = Rows::start(&server, size.a_second, count as u64).await?;
    let started = Instant::now();
    sleep(size.settle).await;
    measure(&server, size, 0, "", None).await?;

    // Queries of rows: each row is of one or two of them, and each query's rows are `count` apart.
    let queries: Vec<String> = (0..count).map(|i| rows_query(i, count)).collect();
    let (watch, class) = watch_all(&server, &mut api, &queries, Some(count as u64)).await?;
    sleep(size.settle).await;
    measure(&server, size, count, &class, Some(&watch)).await?;
    drop(watch);
    forget(&mut api, count).await?;

    let queries: Vec<String> = (0..count).map(groups_query).collect();
    let (watch, class) = watch_all(&server, &mut api, &queries, None).await?;
    sleep_until(started + size.window).await;
    sleep(size.settle).await;
    measure(&server, size, count, &class, Some(&watch)).await?;
    let sent = rows.stop().await?;
    eprintln!(
        "{sent} rows, {:.0} a second",
        sent as f64 / started.elapsed().as_secs_f64()
    );
    drop(watch);
    server.stop()
}

/// A filter of rows: one in `count` passes.
fn rows_query(i: usize, count: usize) -> String {
    let filter = match i % 4 {
        0 | 1 => format!("agent = 'a{i}'"),
        2 => format!("agent = 'a{i}' and value >= 0"),
        // No equality that an index would serve.
        _ => {
            let (low, high) = (i as f64 - 0.5, i as f64 + 0.5);
            let (low, high) = (low / count as f64, high / count as f64);
            format!("value > {low} and value < {high}")
        }
    };
    format!("select n, value from {TABLE} where {filter}")
}

/// Groups of a window, in one of twenty shapes; what is asked of them is different in all.
fn groups_query(i: usize) -> String {
    let key = i % KEYS;
    let filter = FILTERS[i / KEYS % FILTERS.len()];
    let aggregate = AGGREGATES[i / 20 % AGGREGATES.len()];
    format!(
        "select k{key}, {aggregate} * {i} as x from {TABLE} where {filter}ts > now() - interval '60' second group by k{key}"
    )
}

async fn watch_all(
    server: &Server,
    api: &mut Api,
    queries: &[String],
    step: Option<u64>,
) -> Result<(Watch, String)> {
    let mut classes = std::collections::BTreeMap::new();
    let mut names = Vec::new();
    let started = Instant::now();
    for (i, sql) in queries.iter().enumerate() {
        let name = format!("q{i}");
        let class = api.query(&name, sql, 1_000).await?;
        *classes.entry(class).or_insert(0) += 1;
        names.push(name);
    }
    let mut subscriptions = Vec::new();
    for some in names.chunks(A_SUBSCRIPTION) {
        subscriptions.push(api.subscribe(some).await?);
    }
    let watch = Watch::open(server, &subscriptions, step).await?;
    // Backfilled: each has told something.
    let opened = Instant::now();
    while watch.queries() < queries.len() {
        if opened.elapsed() > JOINED_WITHIN {
            let (have, all) = (watch.queries(), queries.len());
            return Err(
                format!("after {JOINED_WITHIN:?}, {have} of {all} queries have a result").into(),
            );
        }
        sleep(Duration::from_millis(20)).await;
    }
    eprintln!(
        "{} queries defined within {:.1} s, all with a first result within {:.1} s more; {}",
        queries.len(),
        (opened - started).as_secs_f64(),
        opened.elapsed().as_secs_f64(),
        queries[0]
    );
    let all: Vec<String> = classes
        .iter()
        .map(|(class, n)| match classes.len() {
            1 => class.to_string(),
            _ => format!("{class} ({n})"),
        })
        .collect();
    Ok((watch, all.join(", ")))
}

async fn forget(api: &mut Api, count: usize) -> Result<()> {
    for i in 0..count {
        api.call(Method::DELETE, &format!("/queries/q{i}"), &Value::Null)
            .await?;
    }
    Ok(())
}

async fn measure(
    server: &Server,
    size: &Size,
    count: usize,
    class: &str,
    watch: Option<&Watch>,
) -> Result<()> {
    if let Some(watch) = watch {
        watch.begin();
    }
    let (before, from) = (server.used()?, clock::now());
    sleep(size.measured).await;
    let time = clock::now() - from;
    let used = server.used()?.since(&before, time);
    let (mut results, mut late, mut wrong) = (0.0, (0, 0), 0);
    if let Some(watch) = watch {
        let seen = watch.seen();
        results = seen.results as f64 * clock::SECOND as f64 / time as f64;
        late = (seen.late.quantile(0.5), seen.late.quantile(0.99));
        wrong = seen.wrong.len();
        for words in seen.wrong.iter().take(3) {
            eprintln!("wrong: {words}");
        }
    }
    let ms = |nanoseconds: u64| nanoseconds / 1_000_000;
    println!(
        "| {count} | {class} | {:.3} | {:.3} | {:.3} | {:.3} | {results:.0} | {} ms | {} ms | {wrong} |",
        used.fresh,
        used.all_again,
        used.front,
        used.whole,
        ms(late.0),
        ms(late.1),
    );
    Ok(())
}
