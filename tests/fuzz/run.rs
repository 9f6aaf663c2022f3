//! Whatever is understood runs on a small table, and ends in its time or is stopped soon after.
#![no_main]

mod tables;

use std::time::{Duration, Instant};

use libfuzzer_sys::{Corpus, fuzz_target};
use triwire::live::sandbox::Stopped;

const BUDGET: Duration = Duration::from_millis(50);

/// Generous, since the machine has other work; what cannot be interrupted would take far longer.
const LATE: Duration = Duration::from_secs(2);

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(sql) = std::str::from_utf8(bytes) else {
        return Corpus::Reject;
    };
    tables::on_its_stack(|| {
        let Some(plan) = tables::with_front(|front| front.plan(sql).ok()) else {
            return Corpus::Reject;
        };
        tables::with_rows(|sandbox| {
            let mut statement = sandbox
                .prepare_stranger(&plan.text)
                .expect("the front took it");
            let began = Instant::now();
            let ended = sandbox.within(BUDGET, || {
                if let Some(at) = statement.parameter_index(":now")? {
                    statement.raw_bind_parameter(at, tables::NOW)?;
                }
                let mut rows = statement.raw_query();
                while rows.next()?.is_some() {}
                Ok(())
            });
            assert!(
                began.elapsed() < LATE,
                "{ended:?} after {:?}",
                began.elapsed()
            );
            assert_ne!(ended, Err(Stopped::Aborted), "nobody did");
        });
        Corpus::Keep
    })
});
