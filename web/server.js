// The server, as this page knows it: where it listens, what the browser speaks with it, and what it counts.

const PROBE_MS = 5000;
const POLL_MS = 1000;
const STALE_MS = 4000;
const TIMING_MS = 500;
const STREAM = '/events?topic=%24stats';

/** The origin of a listener for this page, or `null` when it is off. The host is the page's own: the address that a
 *  server is bound to is not always one that its visitors can reach, or that its certificate names. */
export function originOf(listener) {
  if (!listener) return null;
  const port = listener.addr.slice(listener.addr.lastIndexOf(':') + 1);
  return new URL(`${listener.tls ? 'https' : 'http'}://${location.hostname}:${port}`).origin;
}

/** Whether this is the machine that the page is opened on, where cleartext is as good as TLS to a browser. */
export function isLocal() {
  return ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);
}

/** Whether the page itself came over HTTP/2 or later, where one connection has room for all that it asks. */
export function cameMultiplexed() {
  const [navigation] = performance.getEntriesByType('navigation');
  return ['h2', 'h3'].includes(navigation?.nextHopProtocol);
}

/** The stats object. */
export async function readStats(origin) {
  return readJson(`${origin}/stats`);
}

/** What a GET of this address answers, as JSON. All that the page asks for goes with credentials: only then may it
 *  share connections with the page itself, and WebSockets be carried by them. */
export async function readJson(url) {
  const signal = AbortSignal.timeout(PROBE_MS);
  const response = await fetch(url, { cache: 'no-store', credentials: 'include', signal });
  if (!response.ok) throw new Error(`${new URL(url).pathname} answered ${response.status}`);
  return response.json();
}

/** Asks a listener for a sign of life: `{ trouble, protocol }`. The protocol is what the browser says that it spoke;
 *  trouble is `null`, `busy` (it takes no more now), `late` (no answer in time), `foreign` (it answers, but not to pages
 *  of this origin) or `silent` (no answer at all, which is also all that a page is told of a certificate that is not
 *  trusted). */
export async function probe(origin) {
  const url = `${origin}/healthz?probe=${probes++}-${Date.now()}`;
  const signal = AbortSignal.timeout(PROBE_MS);
  const timing = new Timing(url);
  try {
    const response = await fetch(url, { cache: 'no-store', credentials: 'include', signal });
    await response.text();
    return { trouble: response.status === 503 ? 'busy' : null, protocol: await timing.protocol() };
  } catch (error) {
    if (error.name === 'TimeoutError') return { trouble: 'late', protocol: '' };
    const answers = await fetch(url, { mode: 'no-cors', cache: 'no-store', credentials: 'include', signal }).then(() => true, () => false);
    return { trouble: answers ? 'foreign' : 'silent', protocol: '' };
  } finally {
    timing.end();
  }
}

let probes = 0;

/** Whether a trouble may be over when streams are opened. */
export function mayPass(trouble) {
  return [null, 'late', 'busy', 'gone'].includes(trouble);
}

/** Probes the first of these origins, and the next one if it does not answer: `{ origin, trouble, protocol, passedOver }`,
 *  of which the last is the one that would have been better. */
export async function findListener(origins) {
  if (origins.length === 0) return { origin: null, trouble: 'off', protocol: '', passedOver: null };
  const [first] = origins;
  let found = null;
  for (const origin of origins) {
    const answer = { origin, ...await probe(origin) };
    if (mayPass(answer.trouble)) return { ...answer, passedOver: origin === first ? null : first };
    found ??= answer;
  }
  return { ...found, passedOver: null };
}

/** What the browser notes of one request. It does so some time after the request has ended, or never when the server
 *  does not allow it. */
class Timing {
  #observer;
  #noted;

  constructor(url) {
    this.#noted = new Promise((resolve) => {
      this.#observer = new PerformanceObserver((list) => {
        const [entry] = list.getEntriesByName(url);
        if (entry) resolve(entry.nextHopProtocol);
      });
    });
    this.#observer.observe({ type: 'resource' });
  }

  protocol() {
    const never = new Promise((resolve) => setTimeout(resolve, TIMING_MS, ''));
    return Promise.race([this.#noted, never]);
  }

  end() {
    this.#observer.disconnect();
  }
}

/** The stats object once a second: from the topic `$stats` where a stream costs nothing, else by asking. */
export class Feed {
  /** The latest object, once there is one. */
  stats = null;
  /** Where it asks, and whether by a stream. */
  origin = location.origin;
  isStream = false;
  /** When it came, on the clock of `performance`. */
  takenAt = 0;
  /** Since when the next one is waited for. */
  #since = Infinity;
  #taken;
  #source = null;
  #timer = 0;

  /** `taken` is called with each object. */
  constructor(taken) {
    this.#taken = taken;
  }

  stream(origin) {
    this.stop();
    this.origin = origin;
    this.isStream = true;
    const source = new EventSource(origin + STREAM, { withCredentials: true });
    source.onmessage = (event) => this.take(JSON.parse(event.data));
    // An EventSource that was refused does not come back.
    source.onerror = () => source.readyState === EventSource.CLOSED && this.poll(origin);
    this.#source = source;
    this.#since = performance.now();
  }

  poll(origin) {
    this.stop();
    this.origin = origin;
    this.isStream = false;
    const ask = async () => {
      const timer = this.#timer;
      const stats = await readStats(origin).catch(() => null);
      if (timer !== this.#timer) return;
      if (stats) this.take(stats);
      this.#timer = setTimeout(ask, POLL_MS);
    };
    this.#timer = setTimeout(ask, POLL_MS);
    this.#since = performance.now();
  }

  stop() {
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#since = Infinity;
  }

  /** Whether it is asking at all. */
  get isFollowing() {
    return this.#since !== Infinity;
  }

  /** Has the waiting count from now: while the page was asleep nothing could come. */
  forgive() {
    if (this.isFollowing) this.#since = performance.now();
  }

  /** Whether several in a row are missing. */
  isStale(now) {
    return now - this.#since > STALE_MS;
  }

  take(stats) {
    this.stats = stats;
    this.takenAt = performance.now();
    if (this.isFollowing) this.#since = this.takenAt;
    this.#taken(stats);
  }
}
