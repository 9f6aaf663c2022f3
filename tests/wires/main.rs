//! The contract, on every wire over every listener. Each check is written once and runs on every transport that it
//! is about; a failing row names both.

#[path = "../support/mod.rs"]
mod support;

mod counts;
mod cut;
mod everywhere;
mod gaps;
mod long_poll;
mod payloads;
mod publish;
mod socket;
mod sse;
mod websocket;

use futures_util::future::BoxFuture;

use support::client::Transport;
use support::client::link::Target;
use support::client::publisher::Publisher;

/// One check on one transport, with what it needs.
struct Row {
    target: Target,
    transport: Transport,
    publisher: Publisher,
    /// Goes before the names of its topics, so that rows do not see each other's events.
    prefix: String,
    /// What the server calls itself.
    server: String,
}

impl Row {
    fn topic(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }
}

type Check = (&'static str, fn(Row) -> BoxFuture<'static, ()>);

/// Checks by name: `checks![one, another]`.
macro_rules! checks {
    ($($check:ident),* $(,)?) => {
        [$((stringify!($check), (|row| futures_util::FutureExt::boxed($check(row))) as fn(_) -> _)),*]
    };
}
use checks;

/// Runs all checks on all transports, the transports side by side, and says which rows failed.
fn run(
    server: &support::server::Server,
    transports: impl IntoIterator<Item = Transport>,
    checks: &[Check],
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let target = Target::of(server);
    let name = server.ready["server"].as_str().expect("a name").to_owned();
    let failures: Vec<String> = runtime.block_on(async {
        let columns: Vec<_> = transports
            .into_iter()
            .map(|transport| {
                tokio::spawn(column(
                    target.clone(),
                    name.clone(),
                    transport,
                    checks.to_vec(),
                ))
            })
            .collect();
        assert!(
            !columns.is_empty() && !checks.is_empty(),
            "nothing to check"
        );
        let mut failures = Vec::new();
        for column in columns {
            failures.extend(column.await.expect("it catches what panics"));
        }
        failures
    });
    assert!(
        failures.is_empty(),
        "{} rows failed:\n{}\nthe server said:\n{}",
        failures.len(),
        failures.join("\n"),
        server.stderr()
    );
}

/// All checks on one transport, one after the other.
async fn column(
    target: Target,
    server: String,
    transport: Transport,
    checks: Vec<Check>,
) -> Vec<String> {
    let mut failures = Vec::new();
    for (name, check) in checks {
        let row = Row {
            target: target.clone(),
            transport,
            publisher: Publisher::new(&target).await,
            prefix: format!("{name}/{:?}-{:?}", transport.framing, transport.link),
            server: server.clone(),
        };
        if let Err(panic) = tokio::spawn(check(row)).await {
            let panic = panic.into_panic();
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            failures.push(format!("  {transport}: {name}: {}", text.unwrap_or("?")));
        }
    }
    failures
}
