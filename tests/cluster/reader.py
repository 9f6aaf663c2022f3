"""A reader of the numbered events, by `triwire subscribe` or by Socket.IO, and what is to be said of what it was given."""

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from cluster import binary
from process import Process
from publisher import TOPIC

SOCKET_IO = Path(__file__).with_name("socket_io.py")
NUMBER = re.compile(rb'"data":\{"n":(\d+)\}')


@dataclass
class Verdict:
    """Over one stretch of what was published."""

    delivered: int = 0
    doubled: int = 0
    #: Not given, and no word of it.
    lost: int = 0
    #: Not given, but a gap notice stands where they would have.
    told: int = 0
    gaps: int = 0
    notes: list = field(default_factory=list)


class Reader:
    """One process, whose output is read as it grows."""

    def __init__(self, name, cluster, wire, url):
        ca = cluster.certs / "ca.pem"
        argv = [binary(), "subscribe", TOPIC, "--wire", wire, "--url", url, "--cacert", ca, "--after", "0-0", "--idle", "25s"]
        if wire.startswith("socket-io-"):
            argv = [sys.executable, "-B", SOCKET_IO, wire.removeprefix("socket-io-"), url, TOPIC, ca]
        self.process = cluster.also(Process(f"reader-{name}", argv, cluster.dir))
        self.name = name
        self._file = open(self.process.out, "rb")
        self._rest = b""
        #: The last number that was given.
        self.last = 0
        #: Whether a gap notice came since then.
        self._is_told = False
        self.now = Verdict()

    def read(self):
        """Takes what has come since; the last number is the result."""
        while piece := self._file.read(1 << 20):
            lines = (self._rest + piece).split(b"\n")
            self._rest = lines.pop()
            for line in lines:
                self._take(line)
        return self.last

    def verdict(self, last):
        """Of the stretch up to `last`; the next one begins after it."""
        self.read()
        if self.last < last:
            self._missing(last - self.last)
            self.last = last
        verdict, self.now = self.now, Verdict()
        return verdict

    def close(self):
        self._file.close()

    def _take(self, line):
        found = NUMBER.search(line)
        if found is None:
            notice = json.loads(line)
            if notice.get("type") != "$gap":
                raise ValueError(f"{self.name} was given {line!r}")
            self._is_told = True
            self.now.gaps += 1
            self.now.notes.append(notice.get("reason"))
            return
        number = int(found[1])
        self.now.delivered += 1
        if number <= self.last:
            self.now.doubled += 1
            return
        self._missing(number - self.last - 1)
        self.last = number
        self._is_told = False

    def _missing(self, count):
        if self._is_told:
            self.now.told += count
        else:
            self.now.lost += count
