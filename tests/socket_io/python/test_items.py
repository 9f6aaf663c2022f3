"""The published client for Python: the same getItem, by polling, by WebSocket and by an upgrade; over TLS by polling.

It reads and writes its WebSocket in two threads, which Python's TLS did not bear before 3.13: the client closes it.
"""

import json
import os
import threading
import unittest

import requests
import socketio

LISTENERS = json.loads(os.environ["TRIWIRE_LISTENERS"])
CA = os.environ["TRIWIRE_CERTS"] + "/ca.pem"
CARRIERS = (["polling"], ["polling", "websocket"], ["websocket"])
PATIENCE = 20


def connect(listener, transports):
    http = requests.Session()
    http.verify = CA
    # What the machine is told to trust instead would come first.
    http.trust_env = False
    client = socketio.Client(http_session=http, reconnection=False)
    scheme = "https" if listener in ("http1s", "wss") else "http"
    port = LISTENERS[listener].rsplit(":", 1)[1]
    client.connect(f"{scheme}://localhost:{port}", transports=transports, wait_timeout=PATIENCE)
    return client


def get_item(client, item_id, collection):
    return client.call("GET", (collection, item_id), timeout=PATIENCE)


class Items(unittest.TestCase):
    def test_get_item(self):
        for listener in ("http1", "ws", "http1s", "wss"):
            for transports in CARRIERS if listener in ("http1", "ws") else CARRIERS[:1]:
                with self.subTest(listener=listener, transports=transports):
                    client = connect(listener, transports)
                    self.addCleanup(client.disconnect)
                    collection = f"py-{listener}-{'-'.join(transports)}"
                    self.assertIsNone(get_item(client, 1, collection))
                    made, meta = client.call("POST", (collection, {"id": 1, "name": "one"}), timeout=PATIENCE)
                    self.assertEqual(made, {"id": 1, "name": "one"})
                    self.assertEqual(meta["version"], 1)
                    self.assertEqual(get_item(client, 1, collection), {"id": 1, "name": "one"})
                    refused = client.call("GET", collection, timeout=PATIENCE)
                    self.assertEqual(refused["error"]["status"], 400)
                    client.disconnect()

    def test_changes(self):
        client = connect("ws", ["websocket"])
        self.addCleanup(client.disconnect)
        seen, all_seen = [], threading.Event()

        @client.on("change")
        def change(told):
            seen.append((told["type"], told["data"]["id"]))
            if len(seen) == 3:
                all_seen.set()

        cursor = client.call("WATCH", {"collection": "py-watched"}, timeout=PATIENCE)["cursor"]
        self.assertRegex(cursor, r"^\d+-\d+$")
        client.call("PUT", ("py-watched", "a", {"n": 1}), timeout=PATIENCE)
        client.call("PATCH", ("py-watched", "a", {"n": 2}), timeout=PATIENCE)
        self.assertIs(client.call("DELETE", ("py-watched", "a"), timeout=PATIENCE)[0], True)
        self.assertTrue(all_seen.wait(PATIENCE))
        self.assertEqual(seen, [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")])


if __name__ == "__main__":
    unittest.main()
