"""Ports of loopback that stay the same when what listens there is started again."""

import random
import socket

_given = set()


def free_port():
    """One that nobody has now, below those that the system gives by itself."""
    for _ in range(1000):
        port = random.randrange(20_000, 32_000)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError("no port is free")


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
