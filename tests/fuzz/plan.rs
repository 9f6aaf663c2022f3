//! Whatever strangers send as SQL is understood or refused, on the stack that it has in the server: no panic, no endless
//! loop, and a plan's own statements are such that SQLite takes them.
#![no_main]

mod tables;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(sql) = std::str::from_utf8(bytes) else {
        return Corpus::Reject;
    };
    tables::on_its_stack(|| {
        tables::with_front(|front| {
            if let Ok(plan) = front.plan(sql) {
                tables::hold_to_its_word(&plan);
            }
        });
    });
    Corpus::Keep
});
