"""What can go wrong between replicas and their broker, one after the other, while numbered events are published and read.

Each fault is followed by a row: what was acknowledged, and what the readers were given of it, once and in order, or told
that it may be lost. Nothing may be lost without a word, and nothing may come twice.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import urllib.request
from email.utils import parsedate_to_datetime
from pathlib import Path

from broker import BROKERS
from cluster import Cluster, Replica, ask
from process import until
from publisher import TOPIC, Publisher
from reader import Reader

RATE = 2_000
#: Through the proxy: the wire, and whether it is over TLS.
WIRES = (
    ("sse-http1", False), ("sse-h2c", False), ("ws", False), ("ws-h2c", False), ("long-poll", False),
    ("sse-http1s", True), ("sse-http2", True), ("wss", True), ("ws-http2", True),
    ("socket-io-polling", False), ("socket-io-websocket", True),
)
FLAGS = ("--relay-timeout", "2s", "--metrics-every", "off")


class Stage:
    """The cluster with its publisher and its readers."""

    def __init__(self, dir, replicas, seed, quick, broker):
        self.random = random.Random(seed)
        self.quick = quick
        self.cluster = Cluster(dir, replicas, FLAGS, broker=broker)
        self.rows = []
        self.readers = []
        self.publisher = None
        self._before = 0

    def begin(self):
        self.cluster.start()
        for wire, is_secure in WIRES:
            self.readers.append(Reader(f"proxy-{wire}", self.cluster, wire, self.cluster.url(is_secure)))
        for replica, wire in zip(self.cluster.replicas, ("sse-http1", "ws", "long-poll")):
            listener = "ws" if wire == "ws" else "http1"
            self.readers.append(Reader(f"{replica.name}-{wire}", self.cluster, wire, replica.url(listener, "localhost")))
        self.publisher = Publisher(self.cluster.http, RATE)

    def end(self):
        if self.publisher:
            self.publisher.end()
        for reader in self.readers:
            reader.close()
        self.cluster.end()

    @property
    def replicas(self):
        return self.cluster.replicas

    def any_replica(self):
        return self.random.choice(self.replicas)

    def wait(self, least, most):
        """A time of the schedule; less of it when that is asked."""
        seconds = self.random.uniform(least, most)
        time.sleep(seconds / 3 if self.quick else seconds)

    def published(self, count):
        """Waits until so many more were acknowledged."""
        begun = self.publisher.acknowledged
        until(f"{count} more to be acknowledged", lambda: self.publisher.acknowledged >= begun + count)

    def all_ready(self):
        for replica in self.replicas:
            replica.until_ready()

    def row(self, name, fault):
        """One fault, amid what is published, and what came of it."""
        began = time.monotonic()
        self.publisher.refused, self.publisher.longest = {}, 0.0
        self.publisher.go()
        self.published(RATE // 4)
        note = fault(self) or ""
        self.all_ready()
        self.published(RATE // 2)
        last = self.publisher.pause()
        waited = self._all_have(last)
        verdicts = [(reader, reader.verdict(last)) for reader in self.readers]
        row = {
            "fault": name, "acknowledged": last - self._before, "readers": len(verdicts), "longest_s": round(self.publisher.longest, 2),
            "refused": self.publisher.refused, "seconds": round(time.monotonic() - began, 1), "note": note, "late": waited,
            **{key: sum(getattr(verdict, key) for _, verdict in verdicts) for key in ("delivered", "doubled", "lost", "told", "gaps")},
        }
        row["wrong"] = [
            f"{reader.name}: {verdict.lost} lost, {verdict.doubled} doubled" for reader, verdict in verdicts if verdict.lost or verdict.doubled
        ]
        row["reasons"] = sorted({str(reason) for _, verdict in verdicts for reason in verdict.notes})
        row["wrong"] += [f"{reader.name}: has ended" for reader in self.readers if not reader.process.is_running]
        self._before = last
        self.rows.append(row)
        print(line(row), flush=True)
        for wrong in row["wrong"]:
            print(f"    WRONG {wrong}", flush=True)

    def _all_have(self, last):
        """Waits until all readers were given the last one; those that never were are named."""
        try:
            until("all readers", lambda: all(reader.read() >= last for reader in self.readers), patience=40)
        except TimeoutError:
            return [reader.name for reader in self.readers if reader.last < last]
        return []


def line(row):
    counts = "".join(f"{row[key]:>13,}" for key in ("acknowledged", "delivered", "doubled", "lost", "told", "gaps"))
    refused = ", ".join(f"{count} × {what}" for what, count in row["refused"].items())
    notes = "; ".join(filter(None, [row["note"], refused and f"not acknowledged at once: {refused}"]))
    return f"{row['fault']:<34}{counts}{row['longest_s']:>9.2f} s  {notes}"


def head():
    names = "".join(f"{name:>13}" for name in ("acknowledged", "delivered", "doubled", "lost", "told lost", "gap notices"))
    return f"{'fault':<34}{names}{'longest':>11}"


def nothing(stage):
    stage.wait(1, 2)


def kill_a_replica(stage):
    replica = stage.any_replica()
    replica.process.kill()
    stage.wait(2, 4)
    replica.start()
    return replica.name


def broker_with_its_data(stage):
    stage.cluster.broker.kill()
    stage.wait(2, 4)
    says_why(stage)
    stage.cluster.broker.start()


def kill_a_replica_while_the_broker_is_away(stage):
    """It starts before the broker does, and waits for it."""
    replica = stage.any_replica()
    stage.cluster.broker.kill()
    stage.wait(1, 2)
    replica.process.kill()
    replica.start()
    stage.wait(2, 3)
    stage.cluster.broker.start()
    return replica.name


def broker_without_its_data(stage):
    stage.cluster.broker.kill()
    stage.wait(2, 4)
    stage.cluster.broker.forget()
    stage.cluster.broker.start()


def broker_comes_back_older(stage):
    """As by a failover to a copy that was behind; then a replica that never saw what is gone takes a reader over."""
    broker, aside = stage.cluster.broker, stage.cluster.dir / "older"
    broker.kill()
    broker.copy(aside)
    broker.start()
    stage.all_ready()
    cursor, number = place_now(stage)
    stage.published(RATE // 2)
    broker.kill()
    broker.forget()
    aside.rename(broker.dir)
    broker.start()
    stage.all_ready()
    stage.published(RATE // 2)
    replica = stage.any_replica()
    replica.process.kill()
    replica.start()
    replica.until_ready()
    answer = json.loads(ask(f"{replica.url()}/poll?topic={TOPIC}&after={cursor}&timeout=1")[1])
    numbers = [event["data"]["n"] for event in answer["events"]]
    if not answer["gaps"] and numbers[:1] != [number + 1]:
        raise AssertionError(f"who comes to {replica.name} with the cursor of {number} is given {numbers[:1]}, and told of no gap")
    return f"{replica.name} is new after it"


def place_now(stage):
    """The cursor of the newest event, and its number."""
    url = f"{stage.replicas[0].url()}/sse?topic={TOPIC}&limit=1"
    for line in ask(url)[1].decode().splitlines():
        name, _, value = line.partition(": ")
        if name == "id":
            cursor = value
        elif name == "data" and '"topic"' in value:
            return cursor, json.loads(value)["data"]["n"]
    raise AssertionError("no event came")


def says_why(stage):
    """While the broker is away: red, with the reason, and alive."""
    for replica in stage.replicas:
        status, body = until("/readyz to be red", lambda: (answer := ask(replica.url() + "/readyz")) and answer[0] == 503 and answer)
        if b"relay" not in body:
            raise AssertionError(f"/readyz says {status} {body!r}")
        if not replica.answers("/healthz"):
            raise AssertionError("/healthz is not for the broker's life")


def cut_a_replica(stage):
    replica = stage.any_replica()
    replica.wire.cut()
    time.sleep(4 if stage.quick else 10)
    replica.wire.mend()
    return replica.name


def trim_behind_a_replica(stage):
    replica = stage.any_replica()
    replica.wire.cut()
    stage.wait(2, 3)
    stage.cluster.broker.trim()
    replica.wire.mend()
    return replica.name


def a_broker_that_never_answers(stage):
    for replica in stage.replicas:
        replica.wire.silence()
    stage.wait(5, 7)
    for replica in stage.replicas:
        replica.wire.mend()


def one_broker_connection_that_never_answers(stage):
    replica = stage.any_replica()
    replica.wire.silence()
    stage.wait(5, 7)
    replica.wire.mend()
    return replica.name


def a_slow_broker(stage):
    for replica in stage.replicas:
        replica.wire.slow(0.15)
    stage.wait(4, 6)
    for replica in stage.replicas:
        replica.wire.mend()


def a_rolling_restart(stage):
    for replica in stage.random.sample(stage.replicas, len(stage.replicas)):
        status = replica.process.term()
        if status != 0:
            raise AssertionError(f"replica {replica.name} left with {status}")
        replica.start()
        replica.until_ready()


def two_of_one_name(stage):
    """Another one that is called as the first is: it says so, and both are seen."""
    first = stage.replicas[0]
    twin = Replica(stage.cluster, "twin", called=first.called)
    try:
        twin.start()
        twin.until_ready()

        until("both to be in the cluster's stats", lambda: seen_by(twin).count(first.called) == 2)
        until("a warning", lambda: "is called" in twin.process.said() + first.process.said())
        stage.wait(1, 2)
    finally:
        if twin.process:
            twin.process.end()
        twin.wire.end()


def clocks_apart(stage):
    """Two of three have another time than the third, and the broker; ids are the broker's, so all have the same."""
    shifted = dict(zip(stage.random.sample(stage.replicas, 2), ("+1h", "-1h")))
    for replica, clock in shifted.items():
        replica.process.term()
        replica.start(clock)
        replica.until_ready()
    cursor, _ = place_now(stage)
    stage.published(RATE)
    url = f"/poll?topic={TOPIC}&after={cursor}&timeout=1"
    ids = [[event["id"] for event in json.loads(ask(replica.url() + url)[1])["events"]] for replica in stage.replicas]
    common = min(map(len, ids))
    if common == 0 or len({tuple(some[:common]) for some in ids}) != 1:
        raise AssertionError(f"replicas whose clocks are apart have ids of their own: {[some[:3] for some in ids]}")
    ages = [abs(clock_of(replica) - time.time()) for replica in shifted]
    if min(ages) < 3_000:
        raise AssertionError(f"the clocks are not apart: {ages} s")
    # The lives that ended are seen to have ended, and those there are to be there, whatever time they have.
    for replica in stage.replicas:
        until("each to see all and no more", lambda: seen_by(replica) == sorted(replica.called for replica in stage.replicas))
    for replica in shifted:
        replica.process.term()
        replica.start()
        replica.until_ready()
    return " and ".join(f"{replica.name} by {clock}" for replica, clock in shifted.items())


def seen_by(replica):
    """The names of all, as one says them."""
    return sorted(other["server"] for other in json.loads(ask(replica.url() + "/stats?scope=cluster")[1])["replicas"])


def clock_of(replica):
    """What a replica says that the time is."""
    with urllib.request.urlopen(replica.url() + "/healthz", timeout=5) as response:
        return parsedate_to_datetime(response.headers["date"]).timestamp()


FAULTS = {
    "none": nothing,
    "kill -9 a replica": kill_a_replica,
    "the broker stops and starts": broker_with_its_data,
    "kill -9 while the broker is away": kill_a_replica_while_the_broker_is_away,
    "the broker loses its data": broker_without_its_data,
    "the broker comes back older": broker_comes_back_older,
    "a replica cut from the broker": cut_a_replica,
    "trimmed while it was cut": trim_behind_a_replica,
    "the broker never answers": a_broker_that_never_answers,
    "it never answers one replica": one_broker_connection_that_never_answers,
    "a slow broker": a_slow_broker,
    "rolling restart": a_rolling_restart,
    "two replicas with one name": two_of_one_name,
    "clocks apart": clocks_apart,
}
QUICK = ("kill -9 a replica", "the broker stops and starts", "the broker loses its data", "a replica cut from the broker", "rolling restart")


def schedule(seed, quick, only):
    """The order of the faults; the first row is without one."""
    names = [name for name in FAULTS if name != "none"]
    if quick:
        names = list(QUICK)
    if only:
        names = [name for name in names if only in name]
    random.Random(seed).shuffle(names)
    return ["none", *names]


def main():
    parser = argparse.ArgumentParser(prog="scripts/relay-faults", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer faults, and shorter ones: below a minute")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="the same schedule again")
    parser.add_argument("--only", metavar="WORDS", help="only faults whose names have this in them")
    parser.add_argument("--relay", choices=BROKERS, default="redis", help="the broker")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the rows, with the seed")
    asked = parser.parse_args()
    dir = Path(tempfile.mkdtemp(prefix="triwire-cluster-"))
    stage = Stage(dir, 3, asked.seed, asked.quick, BROKERS[asked.relay])
    began, is_well = time.monotonic(), False
    print(f"--relay {asked.relay} --seed {asked.seed} makes the same schedule again; {RATE} events a second, "
          f"{len(WIRES)} readers through the proxy and one at each of 3 replicas", flush=True)
    try:
        stage.begin()
        print(head(), flush=True)
        for name in schedule(asked.seed, asked.quick, asked.only):
            stage.row(name, FAULTS[name])
        is_well = not any(row["wrong"] or row["late"] for row in stage.rows)
    except (AssertionError, TimeoutError) as error:
        print(f"WRONG {error}", flush=True)
    finally:
        stage.end()
        if asked.json:
            asked.json.parent.mkdir(parents=True, exist_ok=True)
            asked.json.write_text(json.dumps({"seed": asked.seed, "relay": asked.relay, "quick": asked.quick, "rows": stage.rows}, indent=1) + "\n")
        if is_well:
            shutil.rmtree(dir)
        else:
            print(f"what all said is in {dir}; --seed {asked.seed} makes the same schedule again", flush=True)
    print(f"{'well' if is_well else 'NOT WELL'} after {time.monotonic() - began:.0f} s", flush=True)
    return 0 if is_well else 1


if __name__ == "__main__":
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin"
    sys.exit(main())
