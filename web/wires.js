// The wires that this page can open: how each is opened, and the ways it can be carried.

import { isLocal } from './server.js';
import { SseStream, WebSocketStream } from './streams.js';

const isSecure = location.protocol === 'https:';

/** The wires, a panel each. A new one is a row here: how a stream of it is opened, whether streams are given events of every type
 *  (or of those that they were told of), and the ways it can be carried. A way names its listeners (the next one is
 *  taken when the first does not answer), what the server counts it as, whether its streams share a connection,
 *  whether they use up those that a browser has for requests to that port, and whether only trying tells if it can
 *  be had at all. */
export const WIRES = [
  {
    key: 'sse-http1',
    title: 'SSE on HTTP/1.1',
    hearsAll: false,
    open: (options) => new SseStream(options),
    ways: [{
      label: 'HTTP/1.1',
      listeners: !isSecure ? ['http1'] : isLocal() ? ['http1s', 'http1'] : ['http1s'],
      counted: 'sse_http1',
      crowds: true,
    }],
  },
  {
    key: 'sse-http2',
    title: 'SSE on HTTP/2',
    hearsAll: false,
    open: (options) => new SseStream(options),
    ways: [{ label: 'HTTP/2', listeners: ['http2'], counted: 'sse_http2', isShared: true }],
  },
  {
    key: 'websocket',
    title: 'WebSocket',
    hearsAll: true,
    open: (options) => new WebSocketStream(options),
    ways: [
      { label: 'HTTP/1.1', listeners: [isSecure ? 'wss' : 'ws'], counted: 'websocket' },
      { label: 'HTTP/2', listeners: ['http2'], counted: 'websocket_http2', isShared: true, isTried: true },
    ],
  },
];
