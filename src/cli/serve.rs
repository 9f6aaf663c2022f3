//! `triwire serve`: from settings to bound listeners, certificates, a log and a running server.

mod bind;
mod bridges;
mod documents;
mod identity;
mod replicated;
mod settings;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Arg, ArgMatches, Command, value_parser};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
#[cfg(target_os = "linux")]
use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::bridges::Bridges;
use self::documents::Documents;
use self::identity::Identities;
use self::replicated::Replicated;
use crate::access::Access;
use crate::access::keys::Keys;
use crate::api::cut::Cuts;
use crate::api::publish::Publisher;
use crate::api::stats::Stats;
use crate::api::timeplus::queries::registry::Registry;
use crate::api::{Context, Health, Services};
use crate::config::{Config, LogFormat};
use crate::counts::{Counts, ListenerFacts};
use crate::live::Live;
use crate::live::definitions::{Definitions, Stored};
use crate::live::engine::Engine;
use crate::log::Log;
use crate::routes::Routes;
use crate::server::{self, Listener, Server};
use crate::source::machine;
use crate::store::Collections;
use crate::store::announce::Announcer;
use crate::wire::socket_io::SocketIo;

/// Not for people: who starts a server to measure it must not leave it behind, not even when it is killed itself.
const END_WITH_PARENT: &str = "end-with-parent";

pub(super) fn command(name: &'static str) -> Command {
    Config::command(Command::new(name)).arg(
        Arg::new(END_WITH_PARENT)
            .long(END_WITH_PARENT)
            .value_parser(value_parser!(u32))
            .hide(true),
    )
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(parent) = matches.get_one::<u32>(END_WITH_PARENT)
        && let Err(error) = end_with(*parent)
    {
        return super::fail(&[format!("--{END_WITH_PARENT}: {error}")]);
    }
    let config = match Config::resolve(matches, &|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(mistakes) => return super::fail(&mistakes),
    };
    log_to_stderr(config.log_format);
    let descriptors = raise_descriptors();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&[format!("the server could not run: {error}")]),
    };
    // All are tried, so that whoever mends the one need not start again to hear of the other.
    let found = (
        identity::find(&config),
        bind::all(&config.listeners),
        kept(&config, &runtime),
        Bridges::open(&config),
    );
    let (identities, bound, kept, bridges) = match found {
        (Ok(identities), Ok(bound), Ok(kept), Ok(bridges)) => (identities, bound, kept, bridges),
        (identities, bound, kept, bridges) => {
            let mistakes = [identities.err(), bound.err(), kept.err(), bridges.err()];
            return super::fail(&mistakes.into_iter().flatten().flatten().collect::<Vec<_>>());
        }
    };
    let listeners = bind::listeners(bound, &identities);
    let found = (identities, listeners, kept, bridges);
    match serve(&config, descriptors, found, &runtime) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&[format!("the server could not run: {error}")]),
    }
}

#[cfg(target_os = "linux")]
fn end_with(parent: u32) -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before that was said.
    match std::os::unix::process::parent_id() {
        now if now == parent => Ok(()),
        _ => Err(std::io::Error::other("the parent is gone already")),
    }
}

/// What outlives a restart, if anything does: definitions, and documents, which may also be in memory.
type Kept = (Option<(Definitions, Stored)>, Documents);

/// Whoever has the definitions has the directory, so they are opened first.
fn kept(config: &Config, runtime: &Runtime) -> Result<Kept, Vec<String>> {
    // What is defined on several servers is in their relay.
    let data = config.data.as_deref().filter(|_| config.relay.is_none());
    let opened = data.map(Definitions::open).transpose();
    let definitions = opened.map_err(|mistake| vec![format!("--data: {mistake}")])?;
    let documents = Documents::open(config, runtime).map_err(|mistake| vec![mistake])?;
    Ok((definitions, documents))
}

fn serve(
    config: &Config,
    descriptors: u64,
    (identities, listeners, kept, bridges): (Identities, Vec<Listener>, Kept, Bridges),
    runtime: &Runtime,
) -> std::io::Result<()> {
    let name = config.name_or(
        rustix::system::uname()
            .nodename()
            .to_str()
            .unwrap_or("triwire"),
    );
    let shards = config
        .shards
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let facts: Vec<ListenerFacts> = listeners.iter().map(|l| l.facts.clone()).collect();
    let counts = Counts::new(shards, facts.clone());
    let log = Log::new(
        settings::log_limits(config),
        &name,
        shards,
        Box::new(now_ms),
    );
    let replicated = Replicated::new(config, &log, &name);
    let replicated =
        replicated.map_err(|mistake| std::io::Error::other(format!("--relay: {mistake}")))?;
    let access = access(config, &identities, &listeners);
    let (definitions, documents) = kept;
    let (definitions, stored) = definitions.unzip();
    let limits = settings::live_limits(config);
    let engine = Engine::start(&log, limits.engine)?;
    let live = Live::new(log.clone(), engine, limits, definitions);
    live.share();
    let announcer = Announcer::new(log.clone(), settings::announce_limits(config));
    let place = documents.place().map(str::to_owned);
    let store = documents.start(announcer.clone(), runtime)?;
    let collections = Collections::new(store, announcer.clone(), settings::store_limits(config));
    let services = Arc::new(Services {
        publisher: Arc::new(Publisher::new(
            log.clone(),
            live.clone(),
            settings::publish_limits(config),
        )),
        collections: Arc::new(collections),
    });
    let stats = Stats::new(&name, counts.clone(), log.clone(), bridges.counts());
    let stats = Arc::new(stats);
    let timeplus = Registry::new(settings::timeplus_limits(config));
    let health = Arc::new(Health::default());
    let routes = Arc::new(Routes {
        access: access.clone(),
        context: Context {
            publisher: services.publisher.clone(),
            collections: services.collections.clone(),
            services: services.clone(),
            live: live.clone(),
            cuts: Cuts::new(config.limits.cut_keys),
            stats: stats.clone(),
            health: health.clone(),
            keys: keys(config),
            timeplus: timeplus.clone(),
        },
        settings: Arc::new(settings::wire_settings(config, &name)),
        socket_io: SocketIo::new(
            settings::socket_io_limits(config),
            log.clone(),
            services.clone(),
        ),
        log: log.clone(),
    });
    let server = Server {
        listeners,
        routes,
        counts,
        log: log.clone(),
        settings: settings::server_settings(config, shards, descriptors),
    };
    runtime.block_on(async {
        let (drain, cut) = signals()?;
        tokio::spawn(identities.watch(access));
        let mut beginning = pin!(async {
            if let Some(replicated) = replicated {
                replicated.begin(&stats).await?;
            }
            live.restore(stored.unwrap_or_default()).await;
            bridges.start(config, &services.publisher);
            tokio::spawn(live.tidy());
            tokio::spawn(announcer.tidy());
            tokio::spawn(timeplus.tidy());
            tokio::spawn(stats.publish_while_read());
            if let Some(every) = config.metrics_every {
                let (log, name) = (log.clone(), name.clone());
                tokio::spawn(async move {
                    if let Err(error) = machine::run(log, name, every).await {
                        tracing::warn!("metrics: {error}; nothing is published there");
                    }
                });
            }
            health.started();
            say_what_lasts(config, place.as_deref());
            say_ready(config.log_format, &name, &facts);
            std::io::Result::Ok(())
        });
        // Who comes meanwhile is served a moment later.
        let begun = tokio::select! {
            begun = timeout(config.relaying.timeout, &mut beginning) => begun,
            () = drain.notified() => return Ok(()),
        };
        if let Ok(begun) = begun {
            begun?;
            return server::run(server, drain_on(drain), drain_on(cut)).await;
        }
        // It may last, and whoever watches the server has to know that it lives.
        health.start();
        tracing::warn!(
            "not all of the log is here yet: until it is, only what is asked about this server is answered: {}",
            addresses(&facts)
        );
        let mut running = pin!(server::run(server, drain_on(drain), drain_on(cut)));
        tokio::select! {
            begun = &mut beginning => begun?,
            done = &mut running => return done,
        }
        running.await
    })
}

/// What outlives a restart, and where it is.
fn say_what_lasts(config: &Config, database: Option<&str>) {
    if config.relay.is_some() {
        tracing::info!(
            "the log, tables, queries and subscriptions are those of all servers with this relay, and outlive a restart there"
        );
        match database {
            Some(database) => tracing::info!("documents are in {database}"),
            None => tracing::info!(
                "collections are off: servers with one relay share them in Postgres (--store)"
            ),
        }
        if config.data.is_some() {
            tracing::warn!("data: nothing is kept there, since there is a relay");
        }
        return;
    }
    let dir = config.data.as_deref().map(Path::display);
    match (dir, database) {
        (Some(dir), None) => tracing::info!(
            "documents, tables, queries and subscriptions outlive a restart, in {dir}; the log is in memory and does not"
        ),
        (None, None) => {
            tracing::info!("all is in memory: without --data nothing outlives a restart");
        }
        (Some(dir), Some(database)) => tracing::info!(
            "documents are in {database}; tables, queries and subscriptions outlive a restart, in {dir}; the log is in memory and does not"
        ),
        (None, Some(database)) => tracing::info!(
            "documents are in {database}; all else is in memory: without --data it does not outlive a restart"
        ),
    }
}

/// The one line that is ever on stdout. A reader that has gone is no reason to stop.
fn say_ready(format: LogFormat, name: &str, listeners: &[ListenerFacts]) {
    let mut stdout = std::io::stdout();
    let _ = match format {
        LogFormat::Json => {
            let map: serde_json::Map<String, Value> = listeners
                .iter()
                .map(|l| (l.name.to_owned(), json!(l.addr)))
                .collect();
            writeln!(
                stdout,
                "{}",
                json!({ "ready": true, "server": name, "listeners": map })
            )
        }
        LogFormat::Human => {
            let version = env!("CARGO_PKG_VERSION");
            let addresses = addresses(listeners);
            writeln!(stdout, "triwire {version} is ready: {addresses}")
        }
    };
    let _ = stdout.flush();
}

fn addresses(listeners: &[ListenerFacts]) -> String {
    let scheme = |l: &ListenerFacts| if l.tls { "https" } else { "http" };
    let list: Vec<String> = listeners
        .iter()
        .map(|l| format!("{} {}://{}", l.name, scheme(l), l.addr))
        .collect();
    list.join(", ")
}

fn log_to_stderr(format: LogFormat) {
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        // What can not be written there can not be said there either: whoever reads it may have gone, and that ends nothing.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(tracing::Level::INFO);
    // Clients of brokers tell each of their steps, and call what is mended here an error; what is to be known of it the
    // relay and the bridges say.
    let foreign = ["async_nats", "lapin", "amq_protocol", "tcp_stream"];
    let ours = filter_fn(move |line| !foreign.iter().any(|name| line.target().starts_with(name)))
        .with_max_level_hint(tracing::Level::INFO);
    match format {
        LogFormat::Human => lines.finish().with(ours).init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().with(ours).init(),
    }
}

/// Raises the descriptor limit to its hard value, and returns it.
pub(super) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the descriptor limit stays as it is: {error}");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Two signals: the first drains, the second cuts.
fn signals() -> std::io::Result<(Arc<Notify>, Arc<Notify>)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (drain, cut) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let said = [drain.clone(), cut.clone()];
    tokio::spawn(async move {
        for notify in said {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            notify.notify_one();
        }
    });
    Ok((drain, cut))
}

async fn drain_on(notify: Arc<Notify>) {
    notify.notified().await;
}

fn access(config: &Config, identities: &Identities, listeners: &[Listener]) -> Arc<Access> {
    let ports: Vec<u16> = listeners
        .iter()
        .flat_map(|l| &l.sockets)
        .filter_map(|s| s.local_addr().ok())
        .map(|a| a.port())
        .collect();
    let Config { access, .. } = config;
    Arc::new(Access::new(
        &identities.names(),
        &ports,
        &access.allow_origin,
        &access.allow_host,
    ))
}

fn keys(config: &Config) -> Keys {
    let keys = config.access.api_key.iter();
    Keys::new(keys.map(|key| key.reveal().to_owned()).collect())
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}
