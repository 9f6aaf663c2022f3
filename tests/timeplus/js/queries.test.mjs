// A query as the JavaScript sample of Timeplus reads it: by fetch-event-source, with an exact content type, and every
// event whose name it does not know taken for rows.
//
// scripts/timeplus-tests sets TRIWIRE_ADDRESS (address:port of a listener of HTTP/1.1) and TRIWIRE_KEY.

import assert from "node:assert/strict";
import test from "node:test";

import { fetchEventSource } from "@fortaine/fetch-event-source";

const base = `http://${process.env.TRIWIRE_ADDRESS}/default/api/v1beta2`;
const headers = {
  "Content-Type": "application/json;charset=UTF-8",
  "Cache-Control": "no-cache",
  Pragma: "no-cache",
  Authorization: `Basic ${btoa(`user:${process.env.TRIWIRE_KEY}`)}`,
};
const iot = [[true, 73.85], [false, 77.1], [true, 80]];

async function post(path, body) {
  const answer = await fetch(base + path, { method: "POST", headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer;
}

const ingest = (name) => post(`/streams/${name}/ingest`, { columns: ["in_use", "speed"], data: iot });

async function stream(name) {
  const columns = [{ name: "in_use", type: "bool" }, { name: "speed", type: "float64" }];
  await post("/streams", { name, columns });
}

// Runs a query to its end; `each` sees what has come after every event.
async function run(sql, each = () => {}) {
  const seen = { queries: [], rows: [], metrics: [] };
  await fetchEventSource(`${base}/queries`, {
    method: "POST",
    headers,
    body: JSON.stringify({ sql }),
    openWhenHidden: true,
    async onopen(response) {
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-type"), "text/event-stream");
    },
    onmessage({ event, data, id, retry }) {
      assert.deepEqual([id, retry], ["", undefined]);
      const value = JSON.parse(data);
      if (event === "query") seen.queries.push(value);
      else if (event === "metrics") seen.metrics.push(value);
      else seen.rows.push(...value);
      each(seen);
    },
    onerror(error) {
      throw error;
    },
  });
  return seen;
}

test("stored rows, and the end", { timeout: 20_000 }, async () => {
  await stream("js_stored");
  await ingest("js_stored");
  const { queries, rows } = await run("select in_use, speed from table(js_stored)");
  assert.deepEqual(rows, iot);
  assert.deepEqual(queries.map((query) => query.status), ["running", "finished"]);
  assert.deepEqual(queries[0].result.header.map((column) => column.name), ["in_use", "speed"]);
});

test("live rows until the query is cancelled", { timeout: 20_000 }, async () => {
  await stream("js_live");
  let [sent, cancelled] = [false, false];
  const { queries, rows, metrics } = await run("select in_use, speed from js_live", (seen) => {
    if (!sent) {
      sent = true;
      ingest("js_live");
    }
    if (!cancelled && seen.metrics.at(-1)?.count === iot.length) {
      cancelled = true;
      post(`/queries/${seen.queries[0].id}/cancel`, null);
    }
  });
  assert.deepEqual(rows, iot);
  assert.equal(metrics.at(-1).scanned_rows, iot.length);
  assert.equal(queries.at(-1).status, "canceled");
});
