// What the client is told when something is refused, or is not answered at all, and the one way in which it asks by
// fetch.

/** @typedef {{ status: number, title?: string, detail?: string, type?: string, retryAfter?: number }} Told */

/** What a server says of a change that is made, or may be: whoever sends it again may make it twice. */
const UNDECIDED = ['/problems/in-doubt', '/problems/not-told'];

/** A refusal: the server's own words (RFC 9457), with the status of the answer. Status 0 is none of the server's: there
 *  was no answer, so what was asked for may have been done or not; the title is then `lost` or `late`. */
export class Problem extends Error {
  /** @param {Told} told */
  constructor(told) {
    super(told.detail ?? told.title ?? `answered ${told.status}, and no reason given`);
    this.name = 'Problem';
    this.status = told.status;
    this.title = told.title ?? '';
    this.detail = told.detail ?? '';
    this.type = told.type ?? '';
    /** After how many milliseconds to ask again, where the server said so: then nothing was done. */
    this.retryAfter = UNDECIDED.includes(this.type) ? null : (told.retryAfter ?? null);
  }

  /** As what can be sent from a worker, and made a Problem again. @returns {Told} */
  told() {
    const { status, title, detail, type, retryAfter } = this;
    return { status, title, detail, type, retryAfter: retryAfter ?? undefined };
  }
}

/** Nothing was answered. @param {string} url @param {unknown} why */
export function unanswered(url, why) {
  const isLate = why instanceof Error && why.name === 'TimeoutError';
  const detail = isLate ? `no answer from ${url} in time` : `the connection to ${url} was lost, or could not be had`;
  return new Problem({ status: 0, title: isLate ? 'late' : 'lost', detail });
}

/** Fetches; throws a Problem when that is refused or not answered.
 *  @param {string} url @param {RequestInit} init @returns {Promise<Response>} */
export async function ask(url, init) {
  const response = await fetch(url, { cache: 'no-store', credentials: 'include', ...init }).catch((error) => {
    throw unanswered(url, error);
  });
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  const seconds = response.headers.get('retry-after');
  throw new Problem({ ...said, status: response.status, retryAfter: seconds === null ? undefined : Number(seconds) * 1000 });
}
