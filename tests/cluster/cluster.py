"""What compose.yaml runs in containers, as processes on loopback: a broker, replicas, a generator, HAProxy in front."""

import glob
import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from broker import Redis, program
from ports import free_port
from process import Process, until
from wire import Wire

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "docs/deploy/cluster/haproxy.cfg"
LISTENERS = ("http1", "h2c", "ws", "http2", "http1s", "wss")
SECURE = ("http2", "http1s", "wss")


def binary():
    """The server that is asked: TRIWIRE_BIN, else the release build, else the debug build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    named = os.environ.get("TRIWIRE_BIN")
    for path in [named] if named else [target / "release/triwire", target / "debug/triwire"]:
        if os.access(path, os.X_OK):
            return str(path)
    raise SystemExit("there is no triwire; run: cargo build --release")


def ask(url, timeout=5):
    """The status and the body, whatever the status is; `None` when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return None


def faketime():
    """What shifts a program's clock."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        raise SystemExit("there is no libfaketime; on Debian: apt-get install faketime")
    return found[0]


class Replica:
    """One of the servers. Its ports stay the same over all its lives."""

    def __init__(self, cluster, name, called=None):
        self.cluster = cluster
        self.name = name
        self.called = called or name
        self.ports = {listener: free_port() for listener in LISTENERS}
        # It reaches the broker by a piece of network of its own.
        self.wire = Wire(free_port(), cluster.broker.port)
        self.process = None

    def start(self, clock=None):
        """With the machine's clock, or one that is so much before or behind it: `+1h`."""
        argv = [binary(), "serve", "--name", self.called, "--certs", self.cluster.certs, "--log-format", "json", "--drain", "5s"]
        argv += ["--relay", self.cluster.broker.url(self.wire.port), *self.cluster.flags]
        argv += [f"--{listener}=127.0.0.1:{port}" for listener, port in self.ports.items()]
        for origin in self.cluster.origins():
            argv += ["--allow-origin", origin]
        env = {**os.environ, "LD_PRELOAD": faketime(), "FAKETIME": clock, "DONT_FAKE_MONOTONIC": "1"} if clock else None
        self.process = Process(f"replica-{self.name}", argv, self.cluster.dir, env=env)

    def is_ready(self):
        return self.answers("/readyz")

    def answers(self, path):
        answer = ask(self.url() + path)
        return answer is not None and answer[0] == 200

    def until_ready(self):
        until(f"replica {self.name} to be ready", self.is_ready)

    def url(self, listener="http1", host="127.0.0.1"):
        return f"{'https' if listener in SECURE else 'http'}://{host}:{self.ports[listener]}"


class Cluster:
    """All of it, in a directory that goes with it."""

    def __init__(self, dir, replicas=2, flags=(), http=None, https=None, broker=Redis):
        self.dir = dir
        self.flags = list(flags)
        self.certs = dir / "certs"
        self.http = http or free_port()
        self.https = https or free_port()
        self.broker = broker(dir)
        self.replicas = []
        self.haproxy = None
        self.others = []
        for name in "abcdefghijklmnopqrstuvwxyz"[:replicas]:
            self.replicas.append(Replica(self, name))

    def start(self):
        subprocess.run([binary(), "certs", "--certs", str(self.certs)], check=True, capture_output=True)
        both = (self.certs / "server.pem").read_text() + (self.certs / "server.key").read_text()
        proxy = self.dir / "proxy.pem"
        proxy.touch(0o600)
        proxy.write_text(both)
        for replica in self.replicas:
            replica.start()
        for replica in self.replicas:
            replica.until_ready()
        self._start_haproxy()
        until("the proxy to find all replicas ready", lambda: len(self.servers_seen()) == len(self.replicas))

    def origins(self):
        """Those of pages that a replica has to let in: the proxy's, and those of the other replicas."""
        ports = [(False, self.http), (True, self.https)]
        ports += [(listener in SECURE, port) for replica in self.replicas for listener, port in replica.ports.items()]
        hosts = ("localhost", "127.0.0.1")
        return [f"{'https' if is_secure else 'http'}://{host}:{port}" for is_secure, port in ports for host in hosts]

    def url(self, is_secure=False, host="localhost"):
        return f"https://{host}:{self.https}" if is_secure else f"http://{host}:{self.http}"

    def servers_seen(self):
        """The replicas that answer through the proxy now."""
        seen = set()
        for _ in range(2 * len(self.replicas)):
            answer = ask(f"{self.url(host='127.0.0.1')}/stats")
            if answer and answer[0] == 200:
                seen.add(json.loads(answer[1])["server"])
        return seen

    def also(self, process):
        self.others.append(process)
        return process

    def end(self):
        processes = [*self.others, self.haproxy, *(replica.process for replica in self.replicas), self.broker.process]
        for process in processes:
            if process is not None:
                process.end()
        for replica in self.replicas:
            replica.wire.end()

    def _start_haproxy(self):
        file = self.dir / "haproxy.cfg"
        file.write_text(self.configuration())
        env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        env |= {"HTTP": f"127.0.0.1:{self.http}", "HTTPS": f"127.0.0.1:{self.https}", "CERT": str(self.dir / "proxy.pem")}
        env |= {replica.name.upper(): f"127.0.0.1:{replica.ports['http1']}" for replica in self.replicas}
        check = subprocess.run([program("haproxy"), "-c", "-f", str(file)], env=env, capture_output=True, text=True)
        if check.returncode != 0:
            raise SystemExit(f"haproxy: {check.stdout}{check.stderr}")
        self.haproxy = Process("haproxy", [program("haproxy"), "-db", "-f", file], self.dir, env=env)

    def configuration(self):
        """The file as it is, with a line for each further replica."""
        lines = []
        names = [replica.name for replica in self.replicas]
        for line in CONFIGURATION.read_text().splitlines():
            words = line.split()
            if words[:2] == ["server", "b"]:
                lines += [_renamed(line, name) for name in names[1:]]
            elif words[:2] != ["server", "a"] or names:
                lines.append(line)
        return "\n".join(lines) + "\n"


def _renamed(line, name):
    for old, new in (("server b", f"server {name}"), ("${B}", f"${{{name.upper()}}}"), ("cookie b", f"cookie {name}"), ("ready/b", f"ready/{name}")):
        line = line.replace(old, new)
    return line
