//! Publishers that do not wait for their answer, and what seems to be for good and is not.

use std::sync::Arc;
use std::time::Duration;

use triwire::event::EventId;
use triwire::log::{Reason, Start};
use triwire::relay;
use triwire::relay::memory::Memory;
use triwire::replica::entry;
use triwire::replica::replicas::Replicas;

use super::cable::{Cable, End};
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

#[tokio::test(start_paused = true)]
async fn what_servers_say_of_themselves_is_tried_again_whatever_refused_it() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    let cable = Cable::new(&Memory::new(1_000));
    cable.refuse(1);
    let limits = relay::Limits {
        entries: 1_000,
        timeout: Duration::from_secs(5),
        waiting: 4,
        entry_bytes: 4_096,
    };
    let replicas = Replicas::new(Arc::new(End(cable)), &a.link, "a", limits);
    let saying = replicas.run(|| serde_json::json!({}));
    tokio::select! {
        () = saying => panic!("it has ended"),
        () = a.link.heard() => {}
    }
    assert!(a.log.ready().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_entry_at_the_end_of_time_is_one_like_all_others() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    memory.set_clock(u64::MAX - 1);
    for text in ["1", "2"] {
        let done = a.log.publish(vec![draft(text)], Some(text)).await;
        done.expect("it is there");
    }
    a.log.lose(Reason::Relay, |topic| !topic.is_reserved());
    let again = a.log.publish(vec![draft("1")], Some("1")).await;
    assert_eq!(again.expect("it was there").count, 1);
    a.publish("3").await.expect("it is there");
    assert_eq!(super::rest(&mut a.reader(Start::Head)).len(), 0);
}
