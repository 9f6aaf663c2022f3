//! Publishers that do not wait for their answer.

use std::time::Duration;

use triwire::event::EventId;
use triwire::log::Start;
use triwire::relay::memory::Memory;
use triwire::replica::entry;

use super::reading::{draft, texts};
use super::{Replica, until};

#[tokio::test(start_paused = true)]
async fn who_has_gone_takes_no_place_of_those_who_come() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    // What it publishes from now on does not come back: the relay has forgotten it, or as here, it was there already.
    memory.put(entry::write(a.link.by(), 1_000, None, &[draft("0")]));
    let mut reader = a.reader(Start::After(EventId::ZERO));
    until(|| !super::rest(&mut reader).is_empty()).await;
    for text in ["1", "2", "3", "4"] {
        drop(a.log.publish(vec![draft(text)], None));
    }
    let refused = a.publish("5").await.expect_err("four are under way");
    assert_eq!(refused.kind, "relay-busy");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let refused = a.publish("6").await.expect_err("it does not come back");
    assert_eq!(refused.kind, "relay-unknown");
    assert_eq!(texts(&a.all()), ["0"]);
}
