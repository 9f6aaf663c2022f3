// How a front end asks for documents, with the official client; and how a test waits.

import { once } from 'node:events';

import { io } from 'socket.io-client';

/** How long a fact may take to come true. */
export const PATIENCE_MS = 20_000;

/** The ways in which the client can be told to carry a session. */
export const CARRIERS = {
  polling: ['polling'],
  upgrade: ['polling', 'websocket'],
  websocket: ['websocket'],
};

/** Where the server is: an object of listeners, as in its ready line. */
const LISTENERS = JSON.parse(process.env.TRIWIRE_LISTENERS);

export function origin(listener) {
  const scheme = ['http2', 'http1s', 'wss'].includes(listener) ? 'https' : 'http';
  return `${scheme}://localhost:${LISTENERS[listener].split(':').at(-1)}`;
}

/** What the server counts of Socket.IO. */
export async function counts() {
  const stats = await (await fetch(`${origin('http1')}/stats`)).json();
  return { ...stats.wires.socket_io, listeners: stats.listeners };
}

/** Waits until something holds of what is counted. */
export async function until(what, fact) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const now = await counts();
    if (fact(now)) return now;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}: ${JSON.stringify(now)}`);
  }
}

/** A connected socket, which is closed when the test ends. */
export async function connect(t, listener, carrier, options = {}) {
  const socket = io(origin(listener), { transports: CARRIERS[carrier], forceNew: true, ...options });
  t.after(() => socket.close());
  await Promise.race([
    once(socket, 'connect'),
    once(socket, 'connect_error').then(([error]) => Promise.reject(error)),
  ]);
  if (carrier === 'upgrade') {
    while (socket.io.engine.transport.name !== 'websocket') await once(socket.io.engine, 'upgrade');
  }
  return socket;
}

/** An event that is answered, as everywhere in the client. */
export function ask(socket, ...args) {
  return new Promise((resolve, reject) => {
    socket.timeout(PATIENCE_MS).emit(...args, (err, ...answer) => (err ? reject(err) : resolve(answer)));
  });
}

/** Word for word what a front end has, but for its types. */
export async function getItem(socket, id, collection, timeout) {
  return new Promise((resolve, reject) => {
    socket.timeout(timeout ?? 5000).emit('GET', collection, id, (err, item) => {
      if (err) {
        reject(err);
        return;
      }
      resolve(item);
    });
  });
}
