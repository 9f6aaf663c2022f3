//! Gap notices of a resume: one for each topic that lost something, exact where that is possible, none otherwise.

use super::support::client::Framing;
use super::support::client::Transport;
use super::support::client::ask::Ask;
use super::support::client::message::{End, Gap, Id};
use super::support::server::Server;
use super::{Row, checks, run};

const KEPT: usize = 10;

#[test]
fn what_is_lost_is_told() {
    let server = Server::start(&["--topic-events", "10"]);
    run(
        &server,
        Transport::all(),
        &checks![
            each_topic_that_lost_something_is_told_of,
            the_last_cursor_that_loses_nothing,
            zero_loses_nothing,
            a_cursor_beyond_the_head_is_not_believed,
            a_cursor_that_cannot_be_read,
            a_cursor_from_before_the_log,
            a_limit_counts_events_only,
            latest_skips_to_the_newest,
            close_does_not_close_a_resume,
        ],
    );
}

/// A topic of 30 events, of which the last [`KEPT`] are retained.
async fn noisy(row: &mut Row, name: &str) -> (String, Vec<Id>) {
    let topic = row.topic(name);
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(row.publisher.text(&topic, &n.to_string()).await);
    }
    (topic, ids)
}

fn expired(topic: &str, after: Option<Id>, resumed_at: Id) -> Gap {
    Gap {
        topic: topic.to_owned(),
        reason: "expired".to_owned(),
        after,
        resumed_at,
        missed: None,
        go_on: None,
    }
}

async fn each_topic_that_lost_something_is_told_of(mut row: Row) {
    let empty = row.topic("empty");
    let quiet = row.topic("quiet");
    let first = row.publisher.text(&quiet, "first").await;
    let (one, ones) = noisy(&mut row, "one").await;
    let (two, twos) = noisy(&mut row, "two").await;
    let last = row.publisher.text(&quiet, "last").await;
    let ask = Ask::of([&two, &quiet, &one, &empty]).after(first);
    let mut reader = row.transport.open(&row.target, ask).await;
    assert_eq!(reader.ready().await, first, "its own cursor");
    let mut gaps = [reader.gap().await, reader.gap().await];
    gaps.sort_by_key(|gap| gap.resumed_at);
    let want = [(&one, &ones), (&two, &twos)];
    let want = want.map(|(topic, ids)| expired(topic, Some(first), ids[30 - KEPT - 1]));
    assert_eq!(gaps, want);
    // Then all that is left, in order.
    let kept = |ids: &[Id]| ids[30 - KEPT..].to_vec();
    let want = [kept(&ones), kept(&twos), vec![last]].concat();
    let got = reader.events(want.len()).await;
    assert_eq!(got.iter().map(|e| e.id).collect::<Vec<_>>(), want);
}

async fn the_last_cursor_that_loses_nothing(mut row: Row) {
    let (topic, ids) = noisy(&mut row, "t").await;
    let (lost, safe) = (ids[30 - KEPT - 2], ids[30 - KEPT - 1]);
    let ask = Ask::of([&topic]).after(safe);
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    assert_eq!(reader.event().await.id, ids[30 - KEPT]);
    let ask = Ask::of([&topic]).after(lost);
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    assert_eq!(reader.gap().await, expired(&topic, Some(lost), safe));
    assert_eq!(reader.event().await.id, ids[30 - KEPT]);
}

async fn zero_loses_nothing(mut row: Row) {
    let (topic, ids) = noisy(&mut row, "t").await;
    let ask = Ask::of([&topic]).after(Id::ZERO);
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    assert_eq!(reader.event().await.id, ids[30 - KEPT]);
}

async fn a_cursor_beyond_the_head_is_not_believed(mut row: Row) {
    let (topic, mut ids) = noisy(&mut row, "t").await;
    for ask in [
        Ask::of([&topic]).after(Id::MAX),
        Ask::of([&topic]).last_event_id(Id::MAX.to_string()),
    ] {
        let floor = ids[ids.len() - KEPT - 1];
        let mut reader = row.transport.open(&row.target, ask).await;
        let cursor = reader.ready().await;
        if row.transport.framing != Framing::LongPoll {
            // Told its own, the client would come back with it when the head has passed it, and never know.
            assert_eq!(cursor, floor, "where reading really starts");
        }
        assert_eq!(reader.gap().await, expired(&topic, Some(Id::MAX), floor));
        let got = reader.events(KEPT).await;
        assert_eq!(got[0].id, ids[ids.len() - KEPT]);
        ids.push(row.publisher.text(&topic, "live").await);
        assert_eq!(Some(&reader.event().await.id), ids.last());
    }
}

async fn a_cursor_that_cannot_be_read(mut row: Row) {
    let (topic, ids) = noisy(&mut row, "t").await;
    let floor = ids[30 - KEPT - 1];
    let table: [&[u8]; 5] = [b"garbage", b"1", b"-", "1-\u{e4}".as_bytes(), b"1-0, 2-0"];
    for id in table {
        let ask = Ask::of([&topic]).last_event_id(id);
        let mut reader = row.transport.open(&row.target, ask).await;
        let cursor = reader.ready().await;
        if row.transport.framing != Framing::LongPoll {
            assert_eq!(cursor, floor, "where reading really starts");
        }
        assert_eq!(reader.gap().await, expired(&topic, None, floor), "{id:?}");
        assert_eq!(reader.event().await.id, ids[30 - KEPT]);
    }
}

/// As after a restart: nobody knows what was there, so it counts as lost, also where nothing ever was.
async fn a_cursor_from_before_the_log(mut row: Row) {
    let topics = ["some", "none"].map(|name| row.topic(name));
    let first = row.publisher.text(&topics[0], "x").await;
    let before = Id(5, 0);
    let ask = Ask::of(&topics).after(before);
    let mut reader = row.transport.open(&row.target, ask).await;
    assert_eq!(reader.ready().await, before, "its own cursor");
    let mut told = Vec::new();
    for _ in 0..2 {
        let gap = reader.gap().await;
        assert!(before < gap.resumed_at && gap.resumed_at < first, "{gap:?}");
        assert_eq!(gap, expired(&gap.topic, Some(before), gap.resumed_at));
        told.push(gap.topic);
    }
    told.sort();
    assert_eq!(told, [topics[1].clone(), topics[0].clone()]);
    assert_eq!(reader.event().await.id, first);
}

async fn a_limit_counts_events_only(mut row: Row) {
    let (topic, ids) = noisy(&mut row, "t").await;
    let ask = Ask::of([&topic]).after(ids[0]).limit(2);
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    reader.gap().await;
    assert_eq!(reader.events(2).await[1].id, ids[30 - KEPT + 1]);
    assert!(!matches!(reader.end().await, End::Cut(_)));
}

/// Also a topic that lost nothing is left with its newest, and is told so, exactly.
async fn latest_skips_to_the_newest(mut row: Row) {
    let quiet = row.topic("quiet");
    let mut quiets = Vec::new();
    for n in 0..4 {
        quiets.push(row.publisher.text(&quiet, &n.to_string()).await);
    }
    let (topic, ids) = noisy(&mut row, "t").await;
    let ask = Ask::of([&topic, &quiet]).after(quiets[0]).lag("latest");
    let mut reader = row.transport.open(&row.target, ask).await;
    assert_eq!(reader.ready().await, quiets[0]);
    let mut gaps = [reader.gap().await, reader.gap().await];
    gaps.sort_by_key(|gap| gap.resumed_at);
    let skipped = Gap {
        missed: Some(2),
        ..expired(&quiet, Some(quiets[0]), quiets[2])
    };
    let lost = expired(&topic, Some(quiets[0]), ids[28]);
    assert_eq!(gaps, [skipped, lost]);
    let got = reader.events(2).await;
    assert_eq!([got[0].id, got[1].id], [quiets[3], ids[29]]);
    let id = row.publisher.text(&topic, "live").await;
    assert_eq!(reader.event().await.id, id);
}

async fn close_does_not_close_a_resume(mut row: Row) {
    let (topic, ids) = noisy(&mut row, "t").await;
    let ask = Ask::of([&topic]).after(ids[3]).lag("close");
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    let floor = ids[30 - KEPT - 1];
    assert_eq!(reader.gap().await, expired(&topic, Some(ids[3]), floor));
    assert_eq!(reader.events(KEPT).await[0].id, ids[30 - KEPT]);
    let id = row.publisher.text(&topic, "live").await;
    assert_eq!(reader.event().await.id, id);
}
