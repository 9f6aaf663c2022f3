//! The promise: behind nginx, HAProxy and Caddy with the settings of docs/proxies.md, every wire works as it does
//! without them; and `triwire doctor` says of each wrong setting what is wrong.
//!
//! The proxies are the real ones, if they are installed; a test that was not run for want of one says so.

#[path = "../support/mod.rs"]
mod support;

mod certificate;
mod doctor;
mod leave;
mod limits;
mod nobody_to_examine;
mod proxy;
mod through;
mod wrong_settings;

use std::future::Future;

use proxy::{Kind, Proxy};
use support::client::link::Target;
use support::client::publisher::Publisher;
use support::server::Server;

/// What browsers call it.
const NAME: &str = "push.example";

/// A server with one of the proxies in front of it.
struct Front {
    server: Server,
    #[expect(dead_code, reason = "it runs while it is held")]
    proxy: Proxy,
    /// Through the proxy.
    target: Target,
}

impl Front {
    /// Starts both, the proxy with the settings of the page.
    fn start(kind: Kind, args: &[&str]) -> Front {
        Front::with(kind, args, &kind.block())
    }

    /// The same with other settings.
    fn with(kind: Kind, args: &[&str], block: &str) -> Front {
        let mut all = vec!["--allow-host", NAME];
        all.extend(args);
        let server = Server::start(&all);
        let proxy = Proxy::start(kind, block, server.addr("http1"));
        let target = Target::proxy(proxy.addr, NAME, proxy.ca());
        Front {
            server,
            proxy,
            target,
        }
    }

    /// Publishes past the proxy.
    async fn publisher(&self) -> Publisher {
        Publisher::new(&Target::of(&self.server)).await
    }

    fn streams(&self, wire: &str) -> u64 {
        let stats = self.server.stats();
        stats["wires"][wire]["streams"].as_u64().expect("a number")
    }
}

/// Runs a test for each proxy that is installed, and says whose it was.
fn each<F: Future<Output = ()>>(test: impl Fn(Kind) -> F) {
    for kind in Kind::ALL {
        if !kind.is_installed() {
            eprintln!("not run: {kind} is not installed");
            continue;
        }
        eprintln!("through {kind}");
        run(test(kind));
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test);
}
