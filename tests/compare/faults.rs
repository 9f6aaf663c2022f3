//! What goes wrong with events is found, as what it is, on the wire where it does; and nothing else is.

use std::time::Duration;

use serde_json::Value;

use crate::comparison::{Comparison, Done, alone};
use crate::relay::{Fault, Relay};
use crate::support::server::Server;

/// After those for warming up, and before the last.
const EVENT: usize = 30;

/// Late for `--late 2s`, and not yet given up: that is done a second later.
const LATER: Duration = Duration::from_millis(2_400);

const KINDS: [&str; 4] = ["lost", "doubled", "reordered", "late"];

/// Compares SSE and WebSocket through a relay that does this to the one and that to the other.
fn compare(faults: [Fault; 2]) -> Done {
    let server = Server::start(&[]);
    let relay = Relay::start(&server, faults);
    let alone = alone();
    let target = relay.url();
    let load = ["--readers", "5", "--rate", "100", "--late", "2s"];
    let short = ["--quick", "--repetitions", "1"];
    let what = ["--wires", "sse-http1,ws", "--scenarios", "fanout"];
    let args = [&["--target", &target], &what[..], &load, &short].concat();
    Comparison::start(&alone, &args).end()
}

/// The faults of both wires, each as the tables have it: `5 lost`; nothing where there are none.
fn found(done: &Done) -> [String; 2] {
    let runs = done.runs();
    let wires: Vec<&Value> = runs.iter().map(|run| &run["wire"]).collect();
    assert_eq!(wires, ["sse-http1", "ws"], "one run of each");
    [0, 1].map(|index| {
        let run = &runs[index];
        assert_eq!(run["error"], Value::Null);
        let kinds = KINDS.map(|kind| (kind, run["faults"][kind].as_u64().expect("a number")));
        let found = kinds.iter().filter(|(_, count)| *count > 0);
        let found: Vec<String> = found
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        found.join(" and ")
    })
}

#[test]
fn nothing_where_nothing_is() {
    let done = compare([Fault::None; 2]);
    assert_eq!(found(&done), ["", ""]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let said = "Nothing was lost, doubled, reordered or late in ";
    assert!(done.stdout.contains(said), "{}", done.stdout);
}

#[test]
fn each_as_itself_and_where_it_is() {
    // One of each reader's events; those behind a late one are late too, and how many depends on the load.
    let lose = (Fault::Lose(EVENT), "5 lost");
    let double = (Fault::Double(EVENT), "5 doubled");
    let swap = (Fault::Swap(EVENT), "5 reordered");
    let delay = (Fault::Delay(EVENT, LATER), "late");
    for wires in [[lose, double], [double, swap], [swap, delay], [delay, lose]] {
        let done = compare(wires.map(|(fault, _)| fault));
        let found = found(&done);
        for ((fault, want), found) in wires.into_iter().zip(&found) {
            let as_it_is = match want {
                "late" => found.ends_with(" late") && !found.contains("and"),
                _ => found == want,
            };
            assert!(as_it_is, "{fault:?}: {found}");
        }
        assert_eq!(done.code, Some(1), "{}", done.stderr);
        let [sse, ws] = found;
        let said = format!("{sse} in fanout (sse-http1); {ws} in fanout (ws); none elsewhere.");
        assert!(done.stdout.contains(&said), "{}", done.stdout);
    }
}

#[test]
fn on_one_wire_alone() {
    let done = compare([Fault::None, Fault::Lose(EVENT)]);
    assert_eq!(found(&done), ["", "5 lost"]);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    let said = "5 lost in fanout (ws); none elsewhere.";
    assert!(done.stdout.contains(said), "{}", done.stdout);
}
