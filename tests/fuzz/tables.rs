//! What the targets run on: a front and a sandbox that know the built-in tables, with some rows in the latter.
#![allow(dead_code, reason = "each target needs some of it")]

use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

use triwire::live::engine::Limits;
use triwire::live::sandbox::Sandbox;
use triwire::live::schema::built_in;
use triwire::live::sql::{Class, Front, Plan, STACK};

/// The time of evaluations.
pub const NOW: i64 = 1_700_000_000_000;

static FRONT: LazyLock<Mutex<Front>> = LazyLock::new(|| {
    let mut front = Front::new(Limits::default()).expect("SQLite starts");
    for schema in built_in(1_000) {
        front.create(&schema).expect("the schema is good");
    }
    front.into()
});

static ROWS: LazyLock<Mutex<Sandbox>> = LazyLock::new(|| {
    let sandbox = Sandbox::open(&Limits::default()).expect("SQLite starts");
    for schema in built_in(1_000) {
        let connection = sandbox.connection();
        connection
            .execute_batch(&schema.ddl())
            .expect("the schema is good");
        sandbox.permit(schema.name.as_str());
        for n in 0..50 {
            let insert = format!(
                "insert into {} values (?1, ?2, 'b', 'c', ?1 * 0.5, ?1)",
                schema.name
            );
            let row = (NOW - n * 1_000, format!("a{}", n % 5));
            connection
                .execute(&insert, row)
                .expect("there is memory for a row");
        }
    }
    sandbox.into()
});

/// Does the work on a thread with the stack that reading SQL has in the server.
pub fn on_its_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = thread::Builder::new().stack_size(STACK);
        let worker = worker
            .spawn_scoped(scope, work)
            .expect("there is memory for a thread");
        worker.join().expect("a panic ends the process before")
    })
}

pub fn with_front<T>(work: impl FnOnce(&Front) -> T) -> T {
    work(&FRONT.lock().unwrap_or_else(PoisonError::into_inner))
}

pub fn with_rows<T>(work: impl FnOnce(&Sandbox) -> T) -> T {
    work(&ROWS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Whether SQLite takes what the engine will make of a plan.
pub fn hold_to_its_word(plan: &Plan) {
    with_rows(|sandbox| {
        let takes = |sql: &str| {
            if let Err(why) = sandbox.prepare_stranger(sql) {
                panic!("{why}: {sql}\n{plan:?}");
            }
        };
        takes(&plan.text);
        match &plan.class {
            Class::Whole => {}
            Class::Rows { ordered } => takes(&format!("{ordered} desc limit :most")),
            Class::Groups(groups) => {
                let arguments = groups.aggregates.iter().filter_map(|a| a.argument.as_ref());
                let items: Vec<&String> = groups.rows.keys.iter().chain(arguments).collect();
                let items: String = items.iter().map(|item| format!(", {item}")).collect();
                takes(&format!("select 1{items} from {}", groups.rows.from));
                let keys = (0..groups.rows.keys.len()).map(|n| format!(", k{n}"));
                let kept = groups
                    .aggregates
                    .iter()
                    .map(|a| format!(", \"{}\"", a.name));
                let columns: String = keys.chain(kept).collect();
                let connection = sandbox.connection();
                connection
                    .execute_batch(&format!(
                        "drop table if exists totals; create table totals (empty{columns})"
                    ))
                    .expect("the names are columns");
                sandbox.permit("totals");
                takes(&groups.result);
                sandbox.forbid("totals");
            }
        }
    });
}
