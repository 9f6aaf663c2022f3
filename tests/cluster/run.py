"""Runs the cluster until it is told to end, or has it show by itself that it does what it is for."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from check import check
from cluster import Cluster, binary, program
from process import Process


def generator(cluster, rate):
    """Calls of a call centre, published without any server."""
    argv = [binary(), "generate", "call-center", "--rate", rate, "--relay", cluster.broker.url()]
    return cluster.also(Process("generator", argv, cluster.dir))


def say(cluster):
    print(f"the page     {cluster.url()}  {cluster.url(True)}")
    print(f"the events   curl -n {cluster.url()}/sse")
    print(f"             curl -nN --cacert {cluster.certs}/ca.pem {cluster.url(True)}/sse")
    for replica in cluster.replicas:
        pid = replica.process.child.pid
        print(f"replica {replica.called}    {replica.url(host='localhost')}  {replica.url('http2', 'localhost')}  kill -9 {pid}")
    print(f"Redis        {cluster.broker.url()}", flush=True)


def stay(cluster):
    """Until a signal; a replica that was killed is started again, as compose does."""
    print("Ctrl-C ends all of it; a replica that is killed is started again after 5 s", flush=True)
    gone = {}
    while True:
        time.sleep(0.2)
        now = time.monotonic()
        for replica in cluster.replicas:
            if replica.process.is_running:
                continue
            if replica not in gone:
                gone[replica] = now
                print(f"replica {replica.called} is gone", flush=True)
            elif now - gone[replica] > 5:
                del gone[replica]
                replica.start()
                print(f"replica {replica.called} is started again: kill -9 {replica.process.child.pid}", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="scripts/cluster", description=__doc__)
    parser.add_argument("--replicas", type=int, default=2, choices=range(2, 10), metavar="N", help="2 to 9 servers (2)")
    parser.add_argument("--port", type=int, metavar="P", help="the proxy's, for HTTP; the next one is for HTTPS (free ones)")
    parser.add_argument("--rate", type=float, default=10, metavar="R", help="calls a second that are made up (10)")
    parser.add_argument("--check", action="store_true", help="checks what it is for, and ends with 0 or 1")
    asked = parser.parse_args()
    for name in ("redis-server", "redis-cli", "haproxy"):
        program(name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A shell has those that it starts in the background not hear of it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    dir = Path(tempfile.mkdtemp(prefix="triwire-cluster-"))
    cluster, status = None, 1
    try:
        cluster = Cluster(dir, asked.replicas, (), asked.port, asked.port and asked.port + 1)
        cluster.start()
        generator(cluster, asked.rate)
        say(cluster)
        if asked.check:
            status = check(cluster)
        else:
            stay(cluster)
    except KeyboardInterrupt:
        status = 130
    except TimeoutError as error:
        print(f"scripts/cluster: {error}", file=sys.stderr)
    finally:
        if cluster:
            cluster.end()
        if status == 1:
            print(f"what all said is in {dir}", file=sys.stderr)
        else:
            shutil.rmtree(dir, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
