// What the workbench asks of the server: queries and subscriptions, made, changed and removed. What one replica was told
// all know, so where there are several, another is asked when one does not answer.

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
  #origins;
  /** Who has answered instead of the best; is asked first from then on. */
  #other = null;

  /** `origins()` are where to ask, the best first. */
  constructor(origins) {
    this.#origins = origins;
  }

  /** Nobody else has this name: if there is one, it is what became of a request whose answer was lost. */
  createQuery(name, definition) {
    return this.#ask('POST', `/queries/${encodeURIComponent(name)}`, definition).catch((error) => {
      if (error.status !== 409) throw error;
      return this.replaceQuery(name, definition);
    });
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

  /** Asks one after the other until there is an answer; when the page is leaving there is time for one. */
  async #ask(method, path, body, isLeaving = false) {
    const origins = [...new Set([this.#other, ...this.#origins()])].filter(Boolean);
    let silence = null;
    for (const origin of isLeaving ? origins.slice(0, 1) : origins) {
      try {
        const answer = await ask(method, origin + path, body, isLeaving);
        if (silence !== null) this.#other = origin;
        return answer;
      } catch (error) {
        if (error.status !== 0) throw error;
        silence ??= error;
      }
    }
    throw silence;
  }
}

/** With `keepalive` a request outlives the page. */
async function ask(method, url, body, keepalive) {
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

function placeIn(detail) {
  const found = /line (\d+), column (\d+)/i.exec(detail);
  return found && { line: Number(found[1]), column: Number(found[2]) };
}
