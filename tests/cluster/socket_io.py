"""Reads a topic by Socket.IO, with nothing but the standard library, and prints what comes as `triwire subscribe` does.

A session that is lost is opened anew, and goes on after the last id; so does one that the server has closed.

usage: socket_io.py polling|websocket URL TOPIC CA.PEM
"""

import base64
import http.client
import json
import os
import socket
import ssl
import sys
import time
import urllib.parse

#: Longer than the server is silent: it pings each 25 s, at the most.
PATIENCE = 40
SEPARATOR = "\x1e"


class Lost(Exception):
    """The session is over."""


class Polling:
    """A session of requests. The proxy's cookie brings all of them to one server."""

    def __init__(self, place):
        self._place = place
        self._cookie = {}
        self._path = "/socket.io/?EIO=4&transport=polling"
        self._waiting = self._get()
        opened = self._waiting.pop(0)
        self._path += "&sid=" + json.loads(opened[1:])["sid"]

    def receive(self):
        while not self._waiting:
            self._waiting = self._get()
        return self._waiting.pop(0)

    def send(self, packet):
        self._ask("POST", packet)

    def _get(self):
        return self._ask("GET", None).split(SEPARATOR)

    def _ask(self, method, body):
        connection = self._place.http()
        try:
            connection.request(method, self._path, body, self._cookie)
            response = connection.getresponse()
            answer = response.read().decode()
        finally:
            connection.close()
        if response.status != 200:
            raise Lost(f"{method} is answered {response.status}")
        if cookie := response.headers["set-cookie"]:
            self._cookie = {"cookie": cookie.split(";")[0]}
        return answer


class WebSocket:
    """A session on one connection."""

    def __init__(self, place):
        self._socket = place.connect()
        key = base64.b64encode(os.urandom(16)).decode()
        path = "/socket.io/?EIO=4&transport=websocket"
        head = f"GET {path} HTTP/1.1\r\nhost: {place.host}:{place.port}\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        self._socket.sendall(f"{head}sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n".encode())
        self._file = self._socket.makefile("rb")
        status = self._file.readline().split()
        while self._file.readline().strip():
            pass
        if status[1:2] != [b"101"]:
            raise Lost(f"the handshake is answered {status}")
        self.receive()

    def receive(self):
        while True:
            kind, length = self._read(2)
            length &= 0x7F
            if length > 125:
                length = int.from_bytes(self._read(2 if length == 126 else 8))
            payload = self._read(length)
            match kind:
                case 0x81:
                    return payload.decode()
                case 0x89:
                    self._frame(0x8A, payload)
                case _:
                    raise Lost(f"a frame of the kind {kind:x}")

    def send(self, packet):
        self._frame(0x81, packet.encode())

    def _frame(self, kind, payload):
        # The mask is of zeros, which changes nothing.
        self._socket.sendall(bytes([kind, 0x80 | 126]) + len(payload).to_bytes(2) + bytes(4) + payload)

    def _read(self, count):
        piece = self._file.read(count)
        if len(piece) < count:
            raise Lost("the connection has ended")
        return piece


class Place:
    """Where the server is."""

    def __init__(self, url, ca):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self._tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None

    def http(self):
        if self._tls:
            return http.client.HTTPSConnection(self.host, self.port, timeout=PATIENCE, context=self._tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)

    def connect(self):
        plain = socket.create_connection((self.host, self.port), timeout=PATIENCE)
        return self._tls.wrap_socket(plain, server_hostname=self.host) if self._tls else plain


def read(session, topic, after):
    """What comes, as it comes, with the cursor that is behind it."""
    session.send("40")
    while True:
        packet = session.receive()
        if packet == "2":
            session.send("3")
        elif packet.startswith("40"):
            session.send("420" + json.dumps(["WATCH", {"topic": topic, "after": after}]))
        elif packet.startswith("430"):
            if "error" in json.loads(packet[3:])[0]:
                raise Lost(packet)
        elif packet.startswith('42["change",'):
            change = json.loads(packet[2:])[1]
            yield change["id"], change
        elif packet.startswith('42["gap",'):
            gap = json.loads(packet[2:])[1]
            yield gap["resumed_at"], {"type": "$gap", **gap}
        elif packet != "6":
            raise Lost(packet)


def main():
    carry, url, topic, ca = sys.argv[1:]
    place, cursor = Place(url, ca), "0-0"
    sessions = {"polling": Polling, "websocket": WebSocket}[carry]
    while True:
        try:
            for cursor, said in read(sessions(place), topic, cursor):
                print(json.dumps(said, separators=(",", ":")), flush=True)
        except (Lost, OSError, http.client.HTTPException) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
