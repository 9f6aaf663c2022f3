// The SharedWorker of client.js: it holds one line to the server for all tabs that have asked for the same one.

import { Line } from './client-line.js';
import { Problem } from './client-problem.js';

/** @typedef {import('./client-readers.js').Reader} Reader */

const options = JSON.parse(self.name.slice(self.name.indexOf('{')));
const lock = `triwire ${crypto.randomUUID()}`;
/** Held for as long as this worker lives. */
const held = new Promise((resolve) => navigator.locks.request(lock, () => (resolve(null), new Promise(() => {}))));
/** @type {Map<MessagePort, Map<number, Reader>>} each tab with what it reads */
const tabs = new Map();
/** @type {Line | null} there while there are tabs */
let line = null;

/** @param {MessagePort} port @param {string} itsLock */
async function welcome(port, itsLock) {
  tabs.set(port, new Map());
  line ??= new Line(options, (standing) => {
    for (const tab of tabs.keys()) tab.postMessage({ standing });
  });
  navigator.locks.request(itsLock, () => leave(port));
  await held;
  port.postMessage({ hello: lock });
  if (line) port.postMessage({ standing: line.standing });
}

/** @param {MessagePort} port */
function leave(port) {
  for (const reader of tabs.get(port)?.values() ?? []) line?.remove(reader);
  tabs.delete(port);
  if (tabs.size > 0) return;
  line?.close();
  line = null;
}

/** @param {MessagePort} port @param {any} message */
function take(port, { key, hello, add, ask }) {
  const readers = tabs.get(port);
  if (hello) {
    welcome(port, hello);
  } else if (ask) {
    const asking = line?.request(ask) ?? Promise.reject(new Error('this tab has left'));
    asking.then((reply) => port.postMessage({ key, reply }), (error) => port.postMessage({ key, problem: toldOf(error) }));
  } else if (add && readers) {
    const reader = { ...add, take: (/** @type {any} */ event) => port.postMessage({ key, event }) };
    readers.set(key, reader);
    line?.add(reader);
  } else if (readers?.has(key)) {
    line?.remove(/** @type {Reader} */ (readers.get(key)));
    readers.delete(key);
  }
}

/** @param {any} error */
function toldOf(error) {
  return error instanceof Problem ? error.told() : { status: 0, title: 'failed', detail: String(error) };
}

/** @type {any} */ (self).onconnect = (/** @type {MessageEvent} */ { ports: [port] }) => {
  port.onmessage = ({ data }) => take(port, data);
};
