"""The package of the generation before (0.3.0), unchanged: it makes a query, and reads its rows on a WebSocket.

It knows other ways to make a stream and to publish, which are not there: this is about queries.
"""

import json
import os
import unittest
import urllib.request

from timeplus import Env, Query

HOST, PORT = os.environ["TRIWIRE_ADDRESS"].rsplit(":", 1)
KEY = os.environ["TRIWIRE_KEY"]
ROWS = [[True, 73.85], [False, 77.1], [True, 80.0]]


def post(path, body):
    url = f"http://{HOST}:{PORT}/tenant/api/v1beta2{path}"
    headers = {"X-Api-Key": KEY, "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


class Sockets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        env = Env().schema("http").host(HOST).port(PORT).workspace("tenant").api_key(KEY)
        Env.setCurrent(env)
        columns = [{"name": "in_use", "type": "bool"}, {"name": "speed", "type": "float64"}]
        post("/streams", {"name": "old", "columns": columns})
        post("/streams/old/ingest", {"columns": ["in_use", "speed"], "data": ROWS})

    def query(self, sql):
        query = Query().name("old").sql(sql).create()
        self.addCleanup(query.delete)
        return query

    def read(self, query, count):
        """So many rows; it goes on to read after the end, and says that it could not."""
        rows = []

        def on_next(row):
            rows.append(row)
            query.stopped = len(rows) == count

        query.get_result_stream(timeout=20).subscribe(on_next=on_next, on_error=lambda error: None)
        return rows

    def test_stored_rows(self):
        query = self.query("select in_use, speed from table(old)")
        self.assertEqual([column["name"] for column in query.header()], ["in_use", "speed"])
        self.assertEqual(self.read(query, len(ROWS)), ROWS)

    def test_live_rows_until_cancelled(self):
        query = self.query("select in_use, speed from old")
        self.assertEqual(query.status(), "running")
        post("/streams/old/ingest", {"columns": ["in_use", "speed"], "data": ROWS[:1]})
        self.assertEqual(self.read(query, 1), ROWS[:1])
        query.cancel()
        self.assertEqual(query.status(), "canceled")
        self.assertIn(query.id(), [one.id() for one in Query.list()])


if __name__ == "__main__":
    unittest.main()
