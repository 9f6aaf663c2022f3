//! Durable single writes in Postgres, so many in flight, in turn with the same statements by a plain client of it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::future::{try_join_all, try_join3};
use tokio_postgres::{Client, Config, NoTls, Statement};
use triwire::load::Result;
use triwire::load::clock;
use triwire::load::process::Cpu;

use super::alone::Server;
use super::writes::{self, Figures, document};
use super::{Options, REQUESTS, shown};

const IN_FLIGHT: [usize; 2] = [1, 16];
const USER: &str = "postgres";
/// A database for each, so that neither reads what the other writes.
const SERVED: &str = "served";
const ALONE: &str = "alone";

/// What a server says for a POST without an id, to the tables and triggers that `triwire migrate` makes.
const MADE: &str = "select triwire.next_id($1, $2)::text from generate_series(1, $3::bigint)";
const DEFINED: &str = "select definitions from triwire.meta";
const INSERT: &str = "
    insert into triwire.documents (collection, id, version, document)
    select $3::text, $4::text, 1, $5::text::jsonb
    from set_config('triwire.token', $1::text, true) a, set_config('triwire.patch', $2::text, true) b
    returning document::text, pg_current_xact_id()::text";

pub async fn run(options: &Options, sockets: &Path) -> Result<()> {
    let (rounds, warm, measured) = match options.quick {
        false => (4, Duration::from_secs(1), Duration::from_secs(3)),
        true => (1, Duration::from_millis(100), Duration::from_millis(300)),
    };
    println!("\n## Durable single writes in Postgres\n");
    println!(
        "Each a POST of {} bytes as above, which Postgres (a server of its own behind a socket, as it comes) has on its \
         disk before it is answered. In turn with it the same statements for the same tables and triggers by a plain \
         client, tokio-postgres: one transaction after the other on as many connections.\n",
        document(100).len()
    );
    println!(
        "| in flight | by | writes/s | of the plain client | answer p50 | p99 | server's CPU a write |"
    );
    println!("|--:|---|--:|--:|--:|--:|--:|");
    let admin = connect(sockets, USER).await?;
    for in_flight in IN_FLIGHT {
        let names = [SERVED, ALONE].map(|name| format!("{name}_{in_flight}"));
        for name in &names {
            admin
                .batch_execute(&format!("create database {name}"))
                .await?;
            migrate(options, &url(sockets, name))?;
        }
        let [served, alone] = names;
        let store = format!("--store={}", url(sockets, &served));
        let server = Server::start(&options.triwire, &[&store])?;
        let (mut writers, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..in_flight {
            writers.push(server.api(REQUESTS).await?);
            plain.push(Plain::new(connect(sockets, &alone).await?).await?);
        }
        writes::write(&mut writers, warm, &mut Figures::default()).await?;
        insert(&plain, warm, &mut Figures::default()).await?;
        let (mut whole, mut bare) = (Figures::default(), Figures::default());
        for _ in 0..rounds {
            insert(&plain, measured, &mut bare).await?;
            let before = Cpu::of(server.pid())?;
            writes::write(&mut writers, measured, &mut whole).await?;
            whole.cpu += Cpu::of(server.pid())?.since(before);
        }
        println!(
            "| {in_flight} | a plain client | {:.0} | | {} | {} | |",
            bare.a_second(),
            shown(bare.answers.quantile(0.5)),
            shown(bare.answers.quantile(0.99)),
        );
        println!(
            "| {in_flight} | triwire | {:.0} | {:.2} | {} | {} | {} |",
            whole.a_second(),
            whole.a_second() / bare.a_second(),
            shown(whole.answers.quantile(0.5)),
            shown(whole.answers.quantile(0.99)),
            shown(whole.cpu / whole.writes),
        );
        drop(writers);
        server.stop()?;
    }
    Ok(())
}

fn url(sockets: &Path, database: &str) -> String {
    let host = sockets.display();
    format!("postgres:///{database}?host={host}&user={USER}")
}

/// Makes the schema.
fn migrate(options: &Options, url: &str) -> Result<()> {
    let mut command = Command::new(&options.triwire);
    let done = command.args(["migrate", "--store", url]).output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.stderr).into()),
    }
}

async fn connect(sockets: &Path, database: &str) -> Result<Client> {
    let mut config = Config::new();
    config.host_path(sockets).user(USER).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    // Ends with the client, who is told if it ends before.
    tokio::spawn(connection);
    Ok(client)
}

/// A connection that is used by nobody else, with its statements prepared.
struct Plain {
    client: Client,
    made: Statement,
    defined: Statement,
    insert: Statement,
}

impl Plain {
    async fn new(client: Client) -> Result<Plain> {
        Ok(Plain {
            made: client.prepare(MADE).await?,
            defined: client.prepare(DEFINED).await?,
            insert: client.prepare(INSERT).await?,
            client,
        })
    }

    async fn write(&self, n: u64) -> Result<()> {
        let client = &self.client;
        // Said together, as the server does.
        let (_, ids, _) = try_join3(
            client.batch_execute("begin"),
            client.query(&self.made, &[&"items", &0_i64, &1_i64]),
            client.query_one(&self.defined, &[]),
        )
        .await?;
        let id: &str = ids.first().ok_or("no id is made")?.try_get(0)?;
        let json = document(n).replacen('{', &format!(r#"{{"id":{id},"#), 1);
        let token = n.to_string();
        client
            .query(&self.insert, &[&token, &"", &"items", &id, &json])
            .await?;
        Ok(client.batch_execute("commit").await?)
    }
}

/// Each connection writes, one after the other, for so long.
async fn insert(plain: &[Plain], time: Duration, figures: &mut Figures) -> Result<()> {
    let start = clock::now();
    let end = start + time.as_nanos() as u64;
    let one = async |plain: &Plain| -> Result<Vec<u64>> {
        let mut all = Vec::new();
        let mut from = clock::now();
        while from < end {
            plain.write(all.len() as u64).await?;
            let now = clock::now();
            all.push(now - from);
            from = now;
        }
        Ok(all)
    };
    let all = try_join_all(plain.iter().map(one)).await?;
    figures.add(clock::now() - start, all);
    Ok(())
}
