"""The package of the generation between (1.0.1), unchanged: it knows both ways to read the rows of a query."""

import json
import os
import unittest
import urllib.request

import timeplus_client
from timeplus.stream import QueryStreamV1, QueryStreamV2

ADDRESS = os.environ["TRIWIRE_ADDRESS"]
KEY = os.environ["TRIWIRE_KEY"]
ROWS = [[True, 73.85], [False, 77.1], [True, 80.0]]


def post(path, body):
    headers = {"X-Api-Key": KEY, "Content-Type": "application/json"}
    url = f"http://{ADDRESS}/tenant/api/v1beta2{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


class Both(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.configuration = timeplus_client.Configuration()
        cls.configuration.host = f"http://{ADDRESS}/tenant/api"
        cls.configuration.api_key["X-Api-Key"] = KEY
        columns = [{"name": "in_use", "type": "bool"}, {"name": "speed", "type": "float64"}]
        post("/streams", {"name": "both", "columns": columns})
        post("/streams/both/ingest", {"columns": ["in_use", "speed"], "data": ROWS})

    def client(self):
        return timeplus_client.ApiClient(self.configuration)

    def test_a_query_and_its_rows_on_a_socket(self):
        queries = timeplus_client.QueriesV1beta1Api(self.client())
        sql = "select in_use, speed from both where _tp_time > earliest_ts()"
        asked = timeplus_client.CreateQueryRequestV1Beta1(sql=sql, name="both", tags=["a"])
        query = queries.v1beta1_queries_post(asked)
        self.assertEqual([column.name for column in query.result.header], ["in_use", "speed"])
        self.assertEqual(query.time_columns.index_time, -1)
        stream = QueryStreamV1(self.configuration, query)
        rows = []

        def on_next(row):
            rows.append(row)
            stream.stopped = len(rows) == len(ROWS)

        # It cannot say that it has come to the end: it calls a method that is not there.
        stream.result(timeout=20).subscribe(on_next=on_next, on_error=lambda error: None)
        self.assertEqual(rows, ROWS)
        one = queries.v1beta1_queries_id_get(query.id)
        self.assertEqual(one.metrics.count, len(ROWS))
        self.assertIn(query.id, [one.id for one in queries.v1beta1_queries_get()])
        stream.stop()
        with self.assertRaises(timeplus_client.rest.ApiException):
            queries.v1beta1_queries_id_get(query.id)

    def test_a_query_with_its_rows(self):
        queries = timeplus_client.QueriesV1beta2Api(self.client())
        asked = timeplus_client.CreateQueryRequestV1Beta2(sql="select in_use, speed from table(both)")
        answer = queries.v1beta2_queries_post(asked, _preload_content=False)
        events = [(event.event, json.loads(event.data)) for event in QueryStreamV2(answer).events()]
        self.assertEqual([data for name, data in events if name == "message"], [ROWS])
        self.assertEqual(events[-1][1]["status"], "finished")


if __name__ == "__main__":
    unittest.main()
