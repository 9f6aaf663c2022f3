//! Whatever strangers send in the dialect of streams is understood or refused; what reads the stored rows runs to its end
//! in the engine, and what is live begins.
#![no_main]

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use libfuzzer_sys::{Corpus, fuzz_target};
use triwire::event::{Draft, EventType, Payload, Topic};
use triwire::live::engine::{Engine, FlowTold, Limits, Reader};
use triwire::live::sql::dialect::Statement;
use triwire::log::{self, Log};

const LIMITS: fn() -> Limits = || Limits {
    query_time: Duration::from_millis(100),
    ..Limits::default()
};

/// What runs one evaluation at a time, each of which is bounded, ends well within it.
const LATE: Duration = Duration::from_secs(8);

static ENGINE: LazyLock<(Engine, tokio::runtime::Runtime)> = LazyLock::new(|| {
    let log = Log::new(log::Limits::default(), "here", 1, Box::new(|| 1_700_000_000_000));
    let engine = Engine::start(&log, LIMITS()).expect("an engine");
    for n in 0..50 {
        let json = format!(
            r#"{{"ts":{},"server":"a{}","host":"b","name":"{{\"a\":{n}}}","value":{n}.5}}"#,
            1_700_000_000_000_u64 - n * 1_000,
            n % 5
        );
        let draft = Draft {
            topic: Topic::new("metrics").expect("a topic"),
            event_type: EventType::default(),
            payload: Payload::json(json.into()).expect("JSON"),
        };
        log.append(draft).expect("there is room");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    (engine, runtime)
});

struct Waiting(Mutex<Sender<()>>);

impl Reader for Waiting {
    fn has_room(&self) -> bool {
        true
    }

    fn tell(&self, told: FlowTold) {
        if let FlowTold::Ended(_) = told {
            let _ = self.0.lock().expect("nothing panics here").send(());
        }
    }
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(sql) = std::str::from_utf8(bytes) else {
        return Corpus::Reject;
    };
    let (engine, runtime) = &*ENGINE;
    let Ok(Statement::Select(flow)) = runtime.block_on(engine.statement(sql.to_owned())) else {
        return Corpus::Keep;
    };
    let (ended, wait) = channel();
    let is_live = flow.is_live;
    let run = engine.run(&Arc::new(*flow), Arc::new(Waiting(Mutex::new(ended))));
    if !is_live {
        assert!(wait.recv_timeout(LATE).is_ok(), "there is no end to it");
    }
    drop(run);
    Corpus::Keep
});
