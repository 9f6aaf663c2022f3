// A relay between the browser and a server, for what networks and proxies do: it cuts connections, lets some requests
// not through, and keeps what others are answered.

import { createServer, connect } from 'node:net';
import { once } from 'node:events';

export class Relay {
  /** A relay to a listener (`address:port`), for one test. */
  static async to(t, target) {
    const relay = new Relay(target);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    t.after(() => relay.close());
    return relay;
  }

  /** Requests whose head matches are not let through, or not answered. */
  blocked = null;
  held = null;
  /** How many requests matched this, since it was set. */
  counted = null;
  count = 0;
  /** The port that new connections are led to. */
  #port;
  #pairs = new Set();
  #server = createServer((socket) => this.#carry(socket));

  constructor(target) {
    this.target = target;
  }

  /** Leads those that come from now on to another listener, and those that there are are not touched. */
  set target(listener) {
    this.#port = listener.slice(listener.lastIndexOf(':') + 1);
  }

  get origin() {
    return `http://localhost:${this.#server.address().port}`;
  }

  #carry(near) {
    const far = connect(this.#port, '127.0.0.1');
    const pair = { near, far, isHeld: false };
    this.#pairs.add(pair);
    const end = () => {
      near.destroy();
      far.destroy();
      this.#pairs.delete(pair);
    };
    for (const socket of [near, far]) socket.setNoDelay().on('close', end).on('error', end);
    near.on('data', (bytes) => {
      const head = bytes.toString('latin1');
      if (this.counted?.test(head)) this.count += 1;
      if (this.blocked?.test(head)) end();
      else if (this.held?.test(head)) pair.isHeld = true;
      far.write(bytes);
    });
    far.on('data', (bytes) => pair.isHeld || near.write(bytes));
  }

  /** Ends all connections without a word. */
  cut() {
    for (const { near, far } of [...this.#pairs]) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  /** Keeps from now on what the server says on the connections that there are. */
  hold() {
    for (const pair of this.#pairs) pair.isHeld = true;
  }

  close() {
    this.cut();
    this.#server.close();
  }
}
