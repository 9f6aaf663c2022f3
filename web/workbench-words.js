// What the workbench says in sentences.

import { bytes, count, duration, milliseconds } from './figures.js';

/** How a query of each class is kept fresh. */
const CLASSES = new Map([
  [1, ['class 1', 'Class 1: a filter of one table. It runs on the rows that have come, and they are told in addition.']],
  [2, ['class 2', 'Class 2: groups. Sums of parts are kept, so that a result costs the new rows and the groups, not the window.']],
  [3, ['class 3', 'Class 3: anything else. It is run again over all rows that are retained.']],
]);

/** A short name of the class, and a sentence. */
export function classInWords(number) {
  return CLASSES.get(number) ?? ['', ''];
}

/** How the stream stands. */
export function status(workbench, standing) {
  const { wire, origin, trouble, isHeld, isStranded, deliverer, queries } = workbench;
  if (trouble) return troubleInWords(trouble, wire, origin);
  if (isHeld) return 'Closed while the wires are compared; it resumes after.';
  if (queries.length === 0 && workbench.stream === null) return 'No stream yet: the first query opens it.';
  switch (standing) {
    case 'open': return `Open: ${wire.title}, ${origin}${deliverer === null ? '' : `; ${deliverer} delivers`}.`;
    case 'stuck': return `${wire.title}, ${origin}: no answer yet. Other streams may hold all connections that the browser has for it.`;
    case 'away': return `Lost, and about to come back: ${wire.title}, ${origin}.${isStranded ? ' No other replica answers this page: they are gone, or do not let it in (--allow-origin).' : ''}`;
    case 'refused': return `Refused for good: ${wire.title}, ${origin}.`;
    default: return `Opening: ${wire.title}, ${origin}.`;
  }
}

/** What is wrong with a wire. */
export function troubleInWords(trouble, wire, origin) {
  switch (trouble) {
    case 'off': return `The listener ${wire.listeners[0]} is off; take another wire.`;
    case 'untaken': return `No WebSocket could be opened over HTTP/2, by this browser or by this server; take another wire.`;
    case 'silent': return `The browser has no answer from ${origin}: its certificate is not trusted here yet, or nothing listens there. Open ${origin}/ to see, or take another wire.`;
    default: return `${origin} does not take this page’s streams (${trouble}); take another wire.`;
  }
}

/** That it is still the same stream, or when it was not. */
export function sameness({ stream, wire, edits, resumedFrom, renewedAt }, openedAt) {
  const parts = [];
  if (stream !== null && stream.readies > 0) {
    const changes = edits === 0 ? '' : ` ${plural(edits, 'change')} to queries and subscription since, on the same ${wire.isPolled ? 'cursor' : 'stream'}.`;
    parts.push(wire.isPolled
      ? `Begun at ${openedAt}; each poll goes on where the last one ended.${changes}`
      : stream.readies === 1
        ? `Opened ${resumedFrom?.isMove ? 'here ' : ''}at ${openedAt}, once, and not again.${changes}`
        : `Opened ${stream.readies} times, last at ${openedAt}: the connection was lost in between, and it resumed.${changes}`);
  }
  if (resumedFrom !== null) {
    const { title, cursor, isMove } = resumedFrom;
    const place = cursor === null ? '' : ` after ${cursor}`;
    parts.push(isMove ? `${title} was lost, and it went on here${place}; results are told whole once more.` : `It took over from ${title}${place}.`);
  }
  if (renewedAt !== null) parts.push(`At ${renewedAt} the server did not know the subscription any more (it was restarted, or forgot it), so it was made anew.`);
  return parts.join(' ');
}

/** How much there is of a result, and how old it is. */
export function standing(result, now) {
  if (result.updates === 0) return 'Waiting for the first result…';
  const age = now - result.at;
  const parts = [plural(result.updates, 'update'), age < 1000 ? 'the last one just now' : `the last one ${duration(age / 1000)} ago`];
  if (result.kind === 'rows') parts.unshift(plural(result.rows.length, 'row'));
  if (result.kind === 'added') parts.unshift(`newest first, ${plural(result.rows.length, 'row')} kept${result.forgotten ? ` and ${count(result.forgotten)} not` : ''}`);
  return parts.join(', ');
}

/** A table that nobody fills explains an empty result. */
export function emptiness(table) {
  return `The table ${table} has no rows yet. Fill it from a shell: triwire generate call-center`;
}

/** How often something happened. */
export function times(number) {
  return plural(number, 'time');
}

export const figures = { bytes, count, duration, milliseconds };

function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
}
