"""Publishes numbered events, in order, and again under the same key until each was acknowledged."""

import http.client
import threading
import time
import uuid

TOPIC = "numbers"
EVERY = 0.01
MOST = 1_000


class Publisher:
    """So many events a second, by one connection to the proxy at a time, while it goes on."""

    def __init__(self, port, rate):
        self._port = port
        self._rate = rate
        self._lock = threading.Lock()
        self._goes_on = threading.Event()
        self._is_over = False
        self.acknowledged = 0
        #: Answers that were none: refused, or nobody knows.
        self.refused = {}
        #: The longest time until a batch was acknowledged.
        self.longest = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def go(self):
        self._goes_on.set()

    def pause(self):
        """What is under way is acknowledged first."""
        self._goes_on.clear()
        with self._lock:
            pass
        return self.acknowledged

    def end(self):
        self._is_over = True
        self._goes_on.set()
        self._thread.join(10)

    def _run(self):
        connection = None
        began, sent = time.monotonic(), 0
        while True:
            if not self._goes_on.is_set():
                self._goes_on.wait()
                began, sent = time.monotonic(), 0
            if self._is_over:
                return
            due = min(MOST, int((time.monotonic() - began) * self._rate) - sent)
            if due < 1:
                time.sleep(EVERY)
                continue
            with self._lock:
                connection = self._batch(connection, due)
            sent += due
            # What could not be sent in time is not made up for in a heap.
            if int((time.monotonic() - began) * self._rate) - sent > 2 * MOST:
                began, sent = time.monotonic(), 0

    def _batch(self, connection, count):
        body = "".join(f'{{"n":{n}}}\n' for n in range(self.acknowledged + 1, self.acknowledged + count + 1))
        headers = {"content-type": "application/x-ndjson", "idempotency-key": str(uuid.uuid4())}
        began = time.monotonic()
        while not self._is_over:
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=15)
                connection.request("POST", f"/publish/{TOPIC}", body, headers)
                response = connection.getresponse()
                answer = response.read()
                if response.status in (200, 201):
                    self.acknowledged += count
                    self.longest = max(self.longest, time.monotonic() - began)
                    return connection
                what = str(response.status)
                if response.status not in (502, 503, 504):
                    raise SystemExit(f"publishing was answered {what}: {answer[:300]!r}")
            except (OSError, http.client.HTTPException) as error:
                what = type(error).__name__
                connection.close()
                connection = None
            self.refused[what] = self.refused.get(what, 0) + 1
            time.sleep(0.05)
        return connection
