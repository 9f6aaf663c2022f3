// Several servers that are one log by way of a real Redis, for the page's tests.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Server } from './server.mjs';
import { within } from './wait.mjs';

const LISTENERS = ['http1', 'h2c', 'ws', 'http2', 'http1s', 'wss'];

const given = new Set();

/** A port of loopback that nobody has now, below those that the system gives by itself: a replica that is started again
 *  has the same one. */
async function freePort() {
  for (let tries = 0; tries < 1000; tries += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (given.has(port) || !await isFree(port)) continue;
    given.add(port);
    return port;
  }
  throw new Error('no port is free');
}

async function isFree(port) {
  const probe = createServer();
  const listening = once(probe.listen(port, '127.0.0.1'), 'listening');
  if (!await listening.then(() => true, () => false)) return false;
  probe.close();
  await once(probe, 'close');
  return true;
}

/** Debian's Redis with nothing on its disk. */
export class Redis {
  static async start() {
    const [port, dir] = [await freePort(), await mkdtemp(join(tmpdir(), 'triwire-redis-'))];
    const args = ['--port', port, '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'no'];
    const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    const ready = new Promise((resolve) => child.stdout.on('data', (bytes) => {
      said += bytes;
      if (said.includes('Ready to accept connections')) resolve();
    }));
    await within('Redis', ready);
    return new Redis(child, `redis://127.0.0.1:${port}`, dir);
  }

  constructor(child, url, dir) {
    Object.assign(this, { child, url, dir });
  }

  async stop() {
    const ended = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await within('Redis to end', ended);
    await rm(this.dir, { recursive: true });
  }
}

/** Replicas whose pages may read from each other. */
export class Cluster {
  /** `origins` are those of further pages that may. */
  static async start(certificates, names, origins = []) {
    const cluster = new Cluster(certificates, await Redis.start(), origins);
    for (const name of names) cluster.ports.set(name, await Promise.all(LISTENERS.map(freePort)));
    try {
      for (const name of names) await cluster.begin(name);
    } catch (error) {
      // What runs would keep the tests from ending.
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  ports = new Map();
  servers = new Map();

  constructor(certificates, redis, origins) {
    Object.assign(this, { certificates, redis, origins });
  }

  /** Starts one, or starts it again. */
  async begin(name) {
    const listen = Object.fromEntries(LISTENERS.map((listener, i) => [listener, `127.0.0.1:${this.ports.get(name)[i]}`]));
    const pages = [...this.ports.values()].flatMap((ports) => [`http://localhost:${ports[0]}`, `https://localhost:${ports[3]}`]);
    const origins = [...pages, ...this.origins].map((origin) => `--allow-origin=${origin}`);
    const flags = ['--name', name, '--relay', this.redis.url, ...origins];
    this.servers.set(name, await Server.start(this.certificates, { listen, flags, metrics: 'off' }));
    return this.servers.get(name);
  }

  /** As by a crash. */
  async kill(name) {
    const { child, ended } = this.servers.get(name);
    child.kill('SIGKILL');
    await within('the crash', ended);
    this.servers.delete(name);
  }

  async stop() {
    for (const server of this.servers.values()) await server.stop();
    await this.redis.stop();
  }
}
