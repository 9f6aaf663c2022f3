"""Queries, by the package's own `Query`: live and stored rows, metrics, cancelling, and what is kept of them."""

import json
import unittest

from place import Case, has
from timeplus import Query

ROWS = [[True, 73.85], [False, 77.1], [True, 80.0]]


class Queries(Case):
    def iot(self):
        return self.stream(("in_use", "bool"), ("speed", "float64"))

    def query(self, sql):
        query = Query(env=self.env).sql(query=sql).batching_policy(100, 50).create()
        self.addCleanup(self.end, query)
        return query

    def end(self, query):
        with self.subTest("cancelling what has ended does nothing"):
            query.cancel()

    def test_live_rows_until_cancelled(self):
        stream = self.iot()
        query = self.query(f"select in_use, speed from {stream._name}")
        header = [{"name": "in_use", "type": "bool"}, {"name": "speed", "type": "float64"}]
        self.assertEqual(query.header(), header)
        self.assertEqual(query.metadata()["status"], "running")

        stream.ingest(["in_use", "speed"], ROWS)
        rows, metrics = [], []
        for event in query.result():
            if event.event == "message":
                rows += json.loads(event.data)
            elif event.event == "metrics":
                metrics.append(json.loads(event.data))
            if len(rows) >= len(ROWS) and metrics and metrics[-1]["count"] >= len(ROWS):
                break
        self.assertEqual(rows, ROWS)
        figures = {"count", "eps", "processing_time", "last_event_time", "response_time", "scanned_rows", "scanned_bytes"}
        self.assertLessEqual(figures, set(metrics[-1]))

        listed = [one.id for one in Query(env=self.env).list()]
        self.assertIn(query.id(), listed)
        query.cancel()
        last = [event for event in query.result()][-1]
        self.assertEqual(last.event, "query")
        self.assertEqual(json.loads(last.data)["status"], "canceled")

    def test_what_is_kept_of_a_query(self):
        stream = self.iot()
        query = Query(env=self.env).sql(query=f"select * from {stream._name}").create()
        names = [column["name"] for column in query.header()]
        self.assertEqual(names, ["in_use", "speed"])
        api, id = query._api_instance, query.metadata()["id"]
        self.assertEqual(api.v1beta2_queries_id_get(id=id).status, "running")
        query.cancel()
        self.assertEqual(api.v1beta2_queries_id_get(id=id).status, "canceled")
        query.delete()
        with self.refused(404, id):
            api.v1beta2_queries_id_get(id=id)

    def test_stored_rows_and_the_end(self):
        stream = self.iot()
        stream.ingest(["in_use", "speed"], ROWS)
        query = self.query(f"select in_use, speed from table({stream._name})")
        events = list(query.result())
        rows = [row for event in events if event.event == "message" for row in json.loads(event.data)]
        self.assertEqual(rows, ROWS)
        self.assertEqual(events[-1].event, "query")
        ended = json.loads(events[-1].data)
        self.assertEqual((ended["id"], ended["status"]), (query.id(), "finished"))
        self.assertGreaterEqual(ended["end_time"], ended["start_time"])

    def test_refusals(self):
        for sql, part in [("select", ""), ("select * from none", "none")]:
            with self.refused(400, part):
                Query(env=self.env).sql(query=sql).create()
        with self.refused(404, "none"):
            Query(env=self.env)._api_instance.v1beta2_queries_id_cancel_post(id="none")

    @unittest.skipUnless(has("timeplus.dbapi"), "this version has no analyze")
    def test_what_is_said_of_sql(self):
        stream = self.iot()
        live = Query(env=self.env).sql(query=f"select * from {stream._name}").analyze()
        self.assertTrue(live.is_streaming)
        self.assertEqual(live.query_type, "SELECT")
        stored = Query(env=self.env).sql(query=f"select * from table({stream._name})").analyze()
        self.assertFalse(stored.is_streaming)
