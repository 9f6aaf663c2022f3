//! Single documents and lists out of many, in turn with a request that reads nothing.

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use triwire::load::Result;
use triwire::load::clock::{self, SECOND};
use triwire::load::histogram::Histogram;
use triwire::load::process::{self, Cpu};

use super::alone::{Api, Server};
use super::directory::Directory;
use super::{Options, REQUESTS, shown};

const COLLECTION: &str = "/api/v2/items";
/// Documents of one request.
const BULK: u64 = 5_000;
/// How many different values the members have that are filtered and sorted by.
const GROUPS: u64 = 1_000;
/// Pages of a list that are asked for: the first of them, as people do.
const PAGES: u64 = 20;

/// What is asked for, given a random number and how many documents there are.
type Question = (&'static str, fn(u64, u64) -> String);

const QUESTIONS: [Question; 5] = [
    ("nothing: /healthz", |_, _| "/healthz".to_owned()),
    ("a document by its id", |random, documents| {
        format!("{COLLECTION}/{}", random % documents + 1)
    }),
    ("50, by id", |random, _| list(random, "")),
    ("50, by a sort with an index", |random, _| {
        list(random, "&sort=-part")
    }),
    ("50, by a filter with an index", |random, _| {
        let group = random % GROUPS;
        format!("{COLLECTION}?per_page=50&filter[team]=t{group}")
    }),
];

fn list(random: u64, more: &str) -> String {
    format!("{COLLECTION}?per_page=50&page={}{more}", random % PAGES + 1)
}

pub async fn run(options: &Options) -> Result<()> {
    let (documents, samples) = match options.quick {
        false => (1_000_000, 5_000),
        true => (2_000, 100),
    };
    let directory = Directory::new("reads")?;
    let server = Server::start(&options.triwire, &[&directory.flag()])?;
    let mut api = server.api(REQUESTS).await?;
    let (before, from) = (Cpu::of(server.pid())?, clock::now());
    fill(&mut api, documents).await?;
    let filled = (clock::now() - from) as f64 / SECOND as f64;
    let used = Cpu::of(server.pid())?.since(before);
    println!("\n## Reads out of {documents} documents\n");
    println!(
        "Written by bulks of {BULK} within {filled:.1} s, with {:.1} µs of the server's CPU for each; resident after it \
         {:.0} MB. Then one request at a time on a keep-alive connection of HTTP/1.1, of each kind in turn, {samples} of \
         each; lists are of the first {PAGES} pages, or of one in {GROUPS} documents.\n",
        used as f64 / 1e3 / documents as f64,
        process::resident(server.pid())? as f64 / 1e6,
    );
    println!("| what | bytes | p50 | p99 | more than /healthz, p50 |");
    println!("|---|--:|--:|--:|--:|");
    // Indexes are made when they are asked for first.
    for (what, question) in QUESTIONS {
        let from = clock::now();
        check(what, &get(&mut api, &question(0, documents)).await?)?;
        eprintln!("{what}: first after {}", shown(clock::now() - from));
    }
    let mut figures = QUESTIONS.map(|_| (Histogram::default(), 0));
    for _ in 0..samples {
        for ((_, question), (took, bytes)) in QUESTIONS.iter().zip(&mut figures) {
            let path = question(fastrand::u64(..), documents);
            let from = clock::now();
            let answer = get(&mut api, &path).await?;
            took.record(clock::now() - from);
            *bytes += answer.len();
        }
    }
    let bare = figures[0].0.quantile(0.5);
    for ((what, _), (took, bytes)) in QUESTIONS.iter().zip(&figures) {
        let median = took.quantile(0.5);
        println!(
            "| {what} | {} | {} | {} | {} |",
            bytes / samples,
            shown(median),
            shown(took.quantile(0.99)),
            shown(median.saturating_sub(bare)),
        );
    }
    drop(api);
    server.stop()
}

async fn get(api: &mut Api, path: &str) -> Result<Bytes> {
    api.exchange(Method::GET, path, "application/json", Bytes::new())
        .await
}

/// A list must not be empty, or say more than was asked.
fn check(what: &str, answer: &[u8]) -> Result<()> {
    // Not each is JSON.
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    match answer["items"].as_array().map(Vec::len) {
        None | Some(1..=50) => Ok(()),
        Some(n) => Err(format!("{what}: {n} documents").into()),
    }
}

async fn fill(api: &mut Api, documents: u64) -> Result<()> {
    let mut at = 0;
    while at < documents {
        let end = documents.min(at + BULK);
        let lines: String = (at..end).map(line).collect();
        api.exchange(
            Method::POST,
            COLLECTION,
            "application/x-ndjson",
            lines.into(),
        )
        .await?;
        at = end;
    }
    let total = api.get(&format!("{COLLECTION}?per_page=1")).await?["total"].as_u64();
    match total {
        Some(total) if total == documents => Ok(()),
        _ => Err(format!("{documents} documents were written, and {total:?} are there").into()),
    }
}

/// Neighbours have nothing in common.
fn line(n: u64) -> String {
    let part = n.wrapping_mul(7_919) % 1_000_003;
    format!(
        "{{\"name\":\"item {n}\",\"team\":\"t{}\",\"part\":{part},\"text\":\"so that it is as long as many documents are\"}}\n",
        part % GROUPS
    )
}
