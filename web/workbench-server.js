// What the workbench asks of the server: queries and subscriptions, made, changed and removed.

const PATIENCE_MS = 10_000;

/** The server said no: `status`, what it said, and where in the SQL, if it said that: `{ line, column }`. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
    this.place = placeIn(detail);
  }
}

export class Server {
  #origin;

  /** `origin` tells where to ask. */
  constructor(origin) {
    this.#origin = origin;
  }

  createQuery(name, definition) {
    return this.#ask('POST', `/queries/${encodeURIComponent(name)}`, definition);
  }

  replaceQuery(name, definition) {
    return this.#ask('PUT', `/queries/${encodeURIComponent(name)}`, definition);
  }

  query(name) {
    return this.#ask('GET', `/queries/${encodeURIComponent(name)}`);
  }

  deleteQuery(name, isLeaving = false) {
    return this.#ask('DELETE', `/queries/${encodeURIComponent(name)}`, undefined, isLeaving);
  }

  createSubscription(queries) {
    return this.#ask('POST', '/subscriptions', { queries });
  }

  replaceSubscription(id, queries) {
    return this.#ask('PUT', `/subscriptions/${id}`, { queries });
  }

  subscription(id) {
    return this.#ask('GET', `/subscriptions/${id}`);
  }

  deleteSubscription(id, isLeaving = false) {
    return this.#ask('DELETE', `/subscriptions/${id}`, undefined, isLeaving);
  }

  table(name) {
    return this.#ask('GET', `/streams/${name}`);
  }

  /** With `keepalive` a request outlives the page. */
  async #ask(method, path, body, keepalive = false) {
    const url = this.#origin() + path;
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const request = { method, headers, keepalive, credentials: 'include', cache: 'no-store' };
    if (body !== undefined) request.body = JSON.stringify(body);
    if (!keepalive) request.signal = AbortSignal.timeout(PATIENCE_MS);
    const response = await fetch(url, request).catch((error) => {
      throw new Refusal(0, error.name === 'TimeoutError'
        ? `No answer from ${url} in ${PATIENCE_MS / 1000} seconds.`
        : `No answer from ${url}.`);
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Refusal(response.status, answer.detail ?? answer.title ?? `${response.status}, and no reason given`);
    return answer;
  }
}

function placeIn(detail) {
  const found = /line (\d+), column (\d+)/i.exec(detail);
  return found && { line: Number(found[1]), column: Number(found[2]) };
}
