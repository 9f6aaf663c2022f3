"""A piece of network between a replica and its broker, which can be cut, go silent, or be slow."""

import socket
import threading
import time

PIECE = 64 << 10


class Wire:
    """Listens on `port` and carries to `behind`."""

    def __init__(self, port, behind):
        self.port = port
        self._behind = behind
        self._lock = threading.Lock()
        self._ends = set()
        self._is_cut = False
        self._flows = threading.Event()
        self._flows.set()
        self._delay = 0.0
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Every connection is gone, and no new one is taken."""
        with self._lock:
            self._is_cut = True
            ends, self._ends = self._ends, set()
        for end in ends:
            _close(end)

    def silence(self):
        """Connections are taken and stay; nothing gets through."""
        self._flows.clear()

    def slow(self, seconds):
        """What goes through takes so long, each way."""
        self._delay = seconds

    def mend(self):
        with self._lock:
            self._is_cut = False
        self._delay = 0.0
        self._flows.set()

    def end(self):
        self._flows.set()
        self.cut()
        _close(self._listener)

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near):
        try:
            with self._lock:
                if self._is_cut:
                    raise ConnectionRefusedError
            far = socket.create_connection(("127.0.0.1", self._behind), timeout=5)
            far.settimeout(None)
        except OSError:
            _close(near)
            return
        with self._lock:
            self._ends |= {near, far}
            is_cut = self._is_cut
        if is_cut:
            _close(near)
            _close(far)
            return
        threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
        self._pump(far, near)

    def _pump(self, source, sink):
        try:
            while piece := source.recv(PIECE):
                self._flows.wait()
                if self._delay:
                    time.sleep(self._delay)
                sink.sendall(piece)
        except OSError:
            pass
        _close(source)
        _close(sink)
        with self._lock:
            self._ends -= {source, sink}


def _close(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
