// The wires of the client. Each is a function that opens one connection, hands over what comes in the shape that it has
// on a WebSocket, and returns when the connection has ended; it throws when there was none to be had. Which wire to
// take, from where on, and when again is decided by client-line.js.

import { ask } from './client-problem.js';

/** @typedef {{ id?: string, type?: string, topic?: string, data?: any, [member: string]: any }} Frame An event, or
 *  what has a type that begins with `$`: of a WebSocket's own, `$busy` (with `reason`, maybe `retry`) or `$at` (with the
 *  `cursor` up to which all has come). */

/** @typedef {object} Opening
 *  @property {() => string} address  of what is to be read now
 *  @property {number} hold      how long the server may hold a poll, in milliseconds
 *  @property {AbortSignal} signal
 *  @property {(frame: Frame | null, send?: (message: object) => void) => void} take  told each frame, and of signs of
 *    life by `null`; on a two-way wire with the way to say something */

/** @type {Record<string, (opening: Opening) => Promise<void>>} */
export const WIRES = { sse, websocket, poll };

/** What the server's reasons to close a WebSocket are called on the other wires. */
const BUSY_CODES = new Map([[1001, 'draining'], [1013, 'full']]);

/** Server-Sent Events, by fetch: an EventSource hands over only types that it was told of, shows no heartbeat, and
 *  resumes from nowhere but its own cursor. @param {Opening} opening */
async function sse({ address, signal, take }) {
  const headers = { accept: 'text/event-stream' };
  const response = await ask(`${address()}&envelope=1`, { headers, signal });
  const body = /** @type {ReadableStream<any>} */ (response.body);
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let block = new Map();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    take(null);
    const lines = (rest + value).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (block.has('data')) take(frameOf(block));
        block = new Map();
        continue;
      }
      const [, field, text] = /** @type {string[]} */ (/^([^:]*):? ?(.*)$/.exec(line));
      block.set(field, block.has(field) ? `${block.get(field)}\n${text}` : text);
    }
  }
}

/** A block of an event stream as a frame. @param {Map<string, string>} block @returns {Frame} */
function frameOf(block) {
  const [data, event] = [JSON.parse(block.get('data') ?? ''), block.get('event')];
  const own = event === 'ready' || event === 'gap' || event === 'busy';
  return own ? { ...data, type: `$${event}`, retry: Number(block.get('retry')) } : { ...data, id: block.get('id') };
}

/** WebSocket. @param {Opening} opening
 *  @returns {Promise<void>} */
function websocket({ address, signal, take }) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address().replace(/^http/, 'ws'), 'triwire.v1.json');
    const send = (/** @type {object} */ message) => socket.send(JSON.stringify(message));
    socket.onmessage = ({ data }) => take(JSON.parse(data), send);
    socket.onclose = ({ code }) => {
      if (BUSY_CODES.has(code)) take({ type: '$busy', reason: BUSY_CODES.get(code) });
      resolve();
    };
    signal.addEventListener('abort', () => {
      socket.onmessage = socket.onclose = null;
      socket.close();
      reject(signal.reason);
    });
  });
}

/** Long polling: asks for what comes after the cursor, and again with each answer. @param {Opening} opening */
async function poll({ address, hold, signal, take }) {
  for (let isFirst = true; ; isFirst = false) {
    // The first answer comes at once, since it is what tells that this wire is open.
    const timeout = isFirst ? 0 : hold / 1000;
    const response = await ask(`${address()}&timeout=${timeout}`, { signal });
    const { cursor, gaps, events } = await response.json();
    take(isFirst ? { type: '$ready', cursor } : null);
    for (const gap of gaps) take({ ...gap, type: '$gap' });
    for (const event of events) take(event);
    take({ type: '$at', cursor });
  }
}
