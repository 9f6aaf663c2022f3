"""What a cluster is for, shown: new streams land on all replicas, and a reader whose replica dies loses nothing."""

import http.client
import json
import re
import subprocess
import time

from cluster import ask
from process import until
from publisher import Publisher
from reader import Reader

RATE = 1_000
#: The wire, and whether it goes through the proxy's TLS.
WIRES = (("sse-http1", False), ("sse-http2", True), ("ws", False), ("ws-http2", True), ("long-poll", False))
SERVER = re.compile(r'"server":"([^"]+)"')


def check(cluster):
    """The status: 0 when all of it is so."""
    is_well = True
    for what in (curl, cursors, sticky, cluster_stats, away, kill):
        try:
            print(f"ok     {what(cluster)}", flush=True)
        except (AssertionError, TimeoutError) as error:
            is_well = False
            print(f"WRONG  {what.__name__}: {error}", flush=True)
    return 0 if is_well else 1


def curl(cluster):
    """As anybody would look: streams one after the other, each on the replica that has fewest."""
    names = {replica.called for replica in cluster.replicas}
    for url in (f"{cluster.url()}/sse", f"{cluster.url(True)}/sse"):
        seen = set()
        for _ in range(3 * len(names)):
            argv = ["curl", "-n", "-sN", "--max-time", "20", "--cacert", f"{cluster.certs}/ca.pem", url]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
                for line in child.stdout:
                    if line.startswith("data:") and (found := SERVER.search(line)) and '"topic":"calls"' in line:
                        seen.add(found[1])
                        break
                child.terminate()
            if seen == names:
                break
        assert seen == names, f"curl -n {url} showed events of {sorted(seen)} only"
    return f"curl -n {cluster.url()}/sse shows events that {' and '.join(sorted(names))} delivered; over HTTP/2 and TLS too"


def cursors(cluster):
    """What one replica took has the same id on all of them."""
    answer = _post(cluster, "/publish/check", "hello")
    number = answer["id"]
    for replica in cluster.replicas:
        def events(url=replica.url()):
            return json.loads(ask(f"{url}/poll?topic=check&after=0-0&timeout=1")[1])["events"]
        event = until("the event", events)[-1]
        assert event["id"] == number, f"{replica.called} has it as {event['id']}, and it was acknowledged as {number}"
    return f"what was published by way of the proxy is {number} on every replica"


def sticky(cluster):
    """Socket.IO's polling stays where its session is, by the cookie; without the cookie it does not."""
    jar = cluster.dir / "cookies"
    url = f"{cluster.url()}/socket.io/?EIO=4&transport=polling"

    def get(url, *more):
        argv = ["curl", "-s", "--max-time", "10", "-w", "\n%{http_code}", *more, url]
        body, status = subprocess.run(argv, capture_output=True, text=True).stdout.rsplit("\n", 1)
        return int(status), body

    status, body = get(url, "-c", jar)
    assert status == 200, f"the handshake was answered {status}"
    session = json.loads(body[1:])["sid"]
    for _ in range(3):
        status, body = get(f"{url}&sid={session}", "-b", jar, "--data-raw", "40")
        assert status == 200, f"a message of the session was answered {status}: {body}"
    strays = [get(f"{url}&sid={session}", "--data-raw", "40")[0] for _ in range(2 * len(cluster.replicas))]
    assert any(status != 200 for status in strays), "every replica knows the session"
    return "a Socket.IO session by polling stays on its replica by the cookie, and is unknown to others without it"


def cluster_stats(cluster):
    """Every replica counts for all."""
    def all_there(url):
        status, body = ask(f"{url}/stats?scope=cluster")
        return status == 200 and sorted(replica["server"] for replica in json.loads(body)["replicas"])

    names = sorted(replica.called for replica in cluster.replicas)
    for replica in cluster.replicas:
        until(f"{replica.called} to know of all", lambda url=replica.url(): all_there(url) == names)
    return f"/stats?scope=cluster names {', '.join(names)} on each of them"


def away(cluster):
    """Without the broker: no publishing, and readers who come are let in all the same."""
    cluster.broker.kill()
    url = cluster.url(host="127.0.0.1")
    until("/readyz to be red", lambda: not any(replica.is_ready() for replica in cluster.replicas))

    def refused():
        status, answer = _answer(cluster, "/publish/check", "hello")
        return status == 503 and b"relay" in answer

    until("publishing to be refused by a replica, with the reason", refused)

    def let_in():
        answer = ask(f"{url}/sse?topic=check&after=0-0&limit=1")
        return answer and answer[0] == 200 and b"event: ready" in answer[1] and b"hello" in answer[1]

    until("a new reader to be let in", let_in)
    cluster.broker.start()
    until("publishing to go on", lambda: _answer(cluster, "/publish/check", "hello")[0] == 201)
    until("/readyz to be green", lambda: all(replica.is_ready() for replica in cluster.replicas))
    return "without Redis publishing gets 503, and a reader who comes is let in and given what is retained; with it all goes on"


def kill(cluster):
    """kill -9 amid numbered events, with a reader on each wire."""
    readers = [Reader(wire, cluster, wire, cluster.url(is_secure)) for wire, is_secure in WIRES]
    publisher = Publisher(cluster.http, RATE)
    try:
        publisher.go()
        until("events", lambda: all(reader.read() > RATE // 10 for reader in readers))
        victim = max(cluster.replicas, key=_streams)
        carried = _streams(victim)
        victim.process.kill()
        begun = time.monotonic()
        until("events to be published again", lambda n=publisher.acknowledged: publisher.acknowledged > n + RATE)
        victim.start()
        victim.until_ready()
        until("more of them", lambda n=publisher.acknowledged: publisher.acknowledged > n + RATE)
        last = publisher.pause()
        until("all readers to have them", lambda: all(reader.read() >= last for reader in readers))
        seconds = time.monotonic() - begun
        verdicts = {reader.name: reader.verdict(last) for reader in readers}
    finally:
        publisher.end()
        for reader in readers:
            reader.close()
    for name, verdict in verdicts.items():
        assert verdict.lost == verdict.told == verdict.doubled == verdict.gaps == 0, f"{name}: {verdict}"
        assert verdict.delivered == last, f"{name}: {verdict.delivered} of {last}"
    return (f"kill -9 of {victim.called}, which carried {carried} streams, amid {RATE} events a second: after {seconds:.1f} s each of "
            f"{', '.join(verdicts)} has all {last:,} that were acknowledged, once and in order")


def _streams(replica):
    """Streams of readers; its own figures' not counted."""
    status, body = ask(replica.url() + "/stats")
    return sum(wire["streams"] for wire in json.loads(body)["wires"].values()) if status == 200 else 0


def _post(cluster, path, body):
    status, answer = _answer(cluster, path, body)
    assert status == 201, f"publishing was answered {status}: {answer[:300]!r}"
    return json.loads(answer)


def _answer(cluster, path, body):
    connection = http.client.HTTPConnection("127.0.0.1", cluster.http, timeout=10)
    try:
        connection.request("POST", path, body, {"content-type": "text/plain"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
