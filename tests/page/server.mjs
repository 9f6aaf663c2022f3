// A real server for the page's test: the binary on free ports, with certificates of its own.

import { spawn } from 'node:child_process';
import { X509Certificate, createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { within } from './wait.mjs';

const BINARY = process.env.TRIWIRE_BIN ?? new URL('../../target/release/triwire', import.meta.url).pathname;
const WIRES = ['sse_http1', 'sse_http2', 'websocket', 'websocket_http2'];
const LISTENERS = ['http1', 'h2c', 'ws', 'http2', 'http1s', 'wss'];

/** A directory that certificates are made in; servers that share it are trusted alike. */
export class Certificates {
  static async create() {
    return new Certificates(await mkdtemp(join(tmpdir(), 'triwire-page-')));
  }

  constructor(dir) {
    this.dir = dir;
  }

  /** What Chromium calls this key when it is told to trust it: SHA-256 of the leaf's SubjectPublicKeyInfo. */
  async pin() {
    const leaf = new X509Certificate(await readFile(join(this.dir, 'server.pem')));
    const spki = leaf.publicKey.export({ type: 'spki', format: 'der' });
    return createHash('sha256').update(spki).digest('base64');
  }

  remove() {
    return rm(this.dir, { recursive: true });
  }
}

export class Server {
  /** Starts `triwire serve`. `listen` replaces where listeners are bound (`{ wss: 'off' }`), the rest take free ports;
   *  `flags` are further ones. */
  static async start(certificates, { listen = {}, metrics = '200ms', flags = [] } = {}) {
    const bind = LISTENERS.map((name) => `--${name}=${listen[name] ?? '127.0.0.1:0'}`);
    const rest = ['--certs', certificates.dir, '--log-format', 'json', '--metrics-every', metrics, '--drain', '1s'];
    const child = spawn(BINARY, ['serve', ...bind, ...rest, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    child.stderr.on('data', (bytes) => (log += bytes));
    const ended = once(child, 'exit');
    const line = once(createInterface(child.stdout), 'line').then(([line]) => line);
    const said = await within('the ready line', Promise.race([line, ended.then(() => null)]));
    if (said === null) throw new Error(`the server did not start: ${log}`);
    return new Server(child, ended, JSON.parse(said).listeners);
  }

  constructor(child, ended, listeners) {
    this.child = child;
    this.ended = ended;
    /** Name to `address:port`; those that are off are absent. */
    this.listeners = listeners;
  }

  /** The origin of a listener as a visitor types it. */
  origin(name) {
    const scheme = ['http2', 'http1s', 'wss'].includes(name) ? 'https' : 'http';
    return `${scheme}://localhost:${this.listeners[name].split(':').at(-1)}`;
  }

  async stats() {
    return (await fetch(`http://${this.listeners.http1}/stats`)).json();
  }

  /** `{ wire: [connections, streams] }` as the server counts them now, of what the page can open. */
  async counts() {
    const { wires } = await this.stats();
    return Object.fromEntries(WIRES.map((wire) => [wire, [wires[wire].connections, wires[wire].streams]]));
  }

  /** Publishes a body past the page, and returns the answer. */
  async publish(path, body, type = 'text/plain') {
    const request = { method: 'POST', body, headers: { 'content-type': type } };
    const response = await fetch(`http://${this.listeners.http1}/publish/${path}`, request);
    if (response.status !== 201) throw new Error(`publish: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Ends it, if it has not ended. */
  async stop() {
    this.child.kill('SIGTERM');
    await within('the server to end', this.ended);
  }
}
