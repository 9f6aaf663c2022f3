// The comparison: its figures are held against what the server counts, and it leaves nothing behind.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';

import { Comparison } from './browser.mjs';
import { Stage } from './stage.mjs';
import { until, untilIs } from './wait.mjs';

const SHOTS = process.env.TRIWIRE_SHOTS ?? new URL('../../target/page', import.meta.url).pathname;

const stage = Stage.set({ metrics: 'off' });

const WIRES = ['sse-http1', 'sse-http2', 'websocket', 'websocket-http2', 'long-poll'];

it('counts what ten streams cost on each wire, loses nothing, and leaves nothing behind', stage.onPage(async (panels, page) => {
  const comparison = new Comparison(page);
  const [, http2] = panels;
  await http2.shows({ connections: 1, serverStreams: 1 });
  const before = await stage.server.counts();
  await comparison.start(10, 2);
  await comparison.says('Done.');

  const { result } = await comparison.save();
  const figures = Object.fromEntries(result.wires.map(({ wire, figures }) => [wire, figures]));
  console.log(JSON.stringify(figures, null, 1), result.outcome, result.weaknesses);
}));
