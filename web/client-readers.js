// Who reads what on a line, and how far each has come. One connection brings events to all of them in the order of the
// log, so whatever it brings has brought everything before it, to each reader that is current.

/** @typedef {import('./client-wires.js').Frame} Frame */
/** @typedef {{ topic: string, cursor: string, take: (event: Frame) => void, isCurrent?: boolean }} Reader `cursor` is
 *  where it has come to. It is current from when the connection reads its topic from there on. */

export class Readers {
  /** @type {Set<Reader>} */
  #all = new Set();
  /** The topics that the connection reads. @type {Set<string>} */
  #topics = new Set();

  get size() {
    return this.#all.size;
  }

  /** @param {Reader} reader */
  add(reader) {
    reader.isCurrent = false;
    this.#all.add(reader);
  }

  /** @param {Reader} reader */
  remove(reader) {
    reader.isCurrent = false;
    this.#all.delete(reader);
  }

  clear() {
    this.#all.clear();
  }

  /** The connection is gone. */
  end() {
    this.#topics.clear();
    for (const reader of this.#all) reader.isCurrent = false;
  }

  /** What the connection has to change so that it reads what is wanted: topics to leave, and topics to join with the
   *  cursor to join each at; and `done`, to be called once it has. `null` when there is nothing to change. */
  changes() {
    const all = [...this.#all];
    const current = all.filter(({ isCurrent }) => isCurrent);
    // Its topic is read already, by somebody who has not come further.
    const leads = (/** @type {Reader} */ reader) => current.some(({ topic, cursor }) => topic === reader.topic && !isAfter(cursor, reader.cursor));
    for (const reader of all) reader.isCurrent ||= leads(reader);
    const wanted = new Set(all.map(({ topic }) => topic));
    const fresh = new Set(all.filter(({ isCurrent }) => !isCurrent).map(({ topic }) => topic));
    const leave = [...this.#topics].filter((topic) => fresh.has(topic) || !wanted.has(topic));
    if (fresh.size === 0 && leave.length === 0) return null;
    const joining = all.filter(({ topic }) => fresh.has(topic));
    for (const reader of joining) reader.isCurrent = false;
    this.#topics = wanted;
    /** @type {Record<string, string>} */
    const join = {};
    for (const { topic, cursor } of joining) if (!isAfter(cursor, join[topic] ?? cursor)) join[topic] = cursor;
    const done = () => joining.forEach((reader) => (reader.isCurrent = this.#all.has(reader)));
    return { leave, join, done };
  }

  /** The same for a wire that is asked anew each time: its topics, and the cursor that all of them go on from. */
  place() {
    const cursors = [...this.#all].filter(({ topic }) => this.#topics.has(topic)).map(({ cursor }) => cursor);
    const after = cursors.reduce((least, cursor) => (isAfter(least, cursor) ? cursor : least), cursors[0] ?? '0-0');
    return new URLSearchParams([...[...this.#topics].map((topic) => ['topic', topic]), ['after', after]]);
  }

  /** An event, for those that read its topic and do not have it; all others have missed nothing before it.
   *  @param {Frame} event */
  event(event) {
    for (const reader of this.#all) {
      if (!reader.isCurrent || !isAfter(event.id, reader.cursor)) continue;
      reader.cursor = String(event.id);
      if (reader.topic === event.topic) give(reader, event);
    }
  }

  /** A gap notice, for those that it concerns: one that has come further than where the connection began lost nothing.
   *  @param {Frame} gap */
  gap(gap) {
    for (const reader of this.#all) {
      const isNews = reader.cursor === gap.after || isAfter(gap.resumed_at, reader.cursor);
      if (!reader.isCurrent || reader.topic !== gap.topic || !isNews) continue;
      reader.cursor = gap.resumed_at;
      give(reader, gap);
    }
  }

  /** Everything up to here has come. @param {string} cursor */
  at(cursor) {
    for (const reader of this.#all) if (reader.isCurrent && isAfter(cursor, reader.cursor)) reader.cursor = cursor;
  }
}

/** What goes wrong in a reader is not the line's, nor the other readers'. @param {Reader} reader @param {Frame} event */
function give(reader, event) {
  try {
    reader.take(event);
  } catch (error) {
    reportError(error);
  }
}

/** Whether one id is after another; they are `<ms>-<n>`. @param {any} id @param {any} other */
export function isAfter(id, other) {
  const [[ms, n], [otherMs, otherN]] = [id, other].map((text) => text.split('-').map(Number));
  return ms > otherMs || (ms === otherMs && n > otherN);
}
