"""The brokers that replicas may have, as Debian brings them: each with what it has on its disk before it says so."""

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess

from ports import free_port
from process import Process, until


def program(name):
    """Where it is; Debian's users do not have /usr/sbin in their path."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        raise SystemExit(f"there is no {name}")
    return found


class Broker:
    """Its port stays the same over all its lives."""

    def __init__(self, dir):
        self.dir = dir / self.kind
        self.port = free_port()
        self.process = None
        self.start()

    def kill(self):
        self.process.kill()

    def forget(self):
        """What it has on its disk; only while it does not run."""
        shutil.rmtree(self.dir)

    def copy(self, aside):
        subprocess.run(["cp", "-a", str(self.dir), str(aside)], check=True)


class Redis(Broker):
    kind = "redis"

    def start(self):
        self.dir.mkdir(exist_ok=True)
        argv = [program("redis-server"), "--port", self.port, "--bind", "127.0.0.1", "--dir", self.dir, "--save", ""]
        argv += ["--appendonly", "yes", "--appendfsync", "always"]
        self.process = Process("redis-server", argv, self.dir.parent)
        until("redis to answer", lambda: self.cli("PING") == "PONG")

    def url(self, port=None):
        return f"redis://127.0.0.1:{port or self.port}"

    def trim(self):
        """Lets go of all that there is."""
        self.cli("XTRIM", "{triwire}:events", "MAXLEN", 0)

    def cli(self, *words):
        argv = [program("redis-cli"), "-p", str(self.port), *map(str, words)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=20).stdout.strip()


class Nats(Broker):
    kind = "nats"

    def start(self):
        self.dir.mkdir(exist_ok=True)
        argv = [program("nats-server"), "--addr", "127.0.0.1", "--port", self.port, "--jetstream", "--store_dir", self.dir]
        self.process = Process("nats-server", argv, self.dir.parent)
        until("nats to answer", self._answers)

    def url(self, port=None):
        return f"nats://127.0.0.1:{port or self.port}"

    def trim(self):
        """Lets go of all that there is, by NATS' own protocol."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            asked = b"CONNECT {\"verbose\":false}\r\nSUB answer 1\r\nPUB $JS.API.STREAM.PURGE.triwire-events answer 0\r\n\r\n"
            connection.sendall(asked)
            said = b""
            while b'"success"' not in said:
                more = connection.recv(4096)
                assert more and b'"error"' not in said, said
                said += more
            assert b'"success":true' in said, said

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False


class Postgres(Broker):
    kind = "postgres"

    def start(self):
        as_nobody = self._as_nobody()
        if not self.dir.exists():
            self.dir.mkdir(mode=0o700)
            if as_nobody:
                # Its parent is a directory of root's alone.
                self.dir.parent.chmod(0o711)
                user = self._user()
                os.chown(self.dir, user.pw_uid, user.pw_gid)
            made = ["initdb", "-D", self.dir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
            subprocess.run([*as_nobody, self._bin(made[0]), *map(str, made[1:])], check=True, capture_output=True)
        argv = [*as_nobody, self._bin("postgres"), "-D", self.dir, "-p", self.port, "-k", self.dir]
        self.process = Process("postgres", [*argv, "-c", "listen_addresses=127.0.0.1"], self.dir.parent)
        until("postgres to answer", self._answers)

    def url(self, port=None):
        return f"postgres://postgres@127.0.0.1:{port or self.port}/postgres"

    def kill(self):
        """At once, and all of its processes: what it has not written is not written."""
        self.process.child.send_signal(signal.SIGQUIT)
        self.process.child.wait()

    def trim(self):
        """Lets go of all that there is, as servers let go of what is too much."""
        gone = "delete from triwire_relay.entries where stream = 'triwire:events' returning ms, number"
        newest = "select ms, number from gone order by ms desc, number desc limit 1"
        begin = f"update triwire_relay.streams s set first_ms = n.ms, first_number = n.number from ({newest}) n"
        sql = f"with gone as ({gone}) {begin} where s.name = 'triwire:events'"
        subprocess.run([self._bin("psql"), "-qX", "-v", "ON_ERROR_STOP=1", self.url(), "-c", sql], check=True)

    def _answers(self):
        asked = [self._bin("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked).returncode == 0

    @staticmethod
    def _bin(name):
        found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
        return found[-1] if found else program(name)

    @staticmethod
    def _user():
        try:
            return pwd.getpwnam("postgres")
        except KeyError:
            return pwd.getpwnam("nobody")

    def _as_nobody(self):
        """It refuses to be root's."""
        if os.geteuid() != 0:
            return []
        user = self._user()
        return [program("setpriv"), "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups", "--"]


BROKERS = {broker.kind: broker for broker in (Redis, Nats, Postgres)}
