// Where the stream of the workbench can be had: the first of the replicas that answers this page on the stream's wire.

import { findListener, mayPass } from './server.js';
import { canOpenWebSocket } from './streams.js';

/** `{ place, origin, trouble }`; if there is none without a trouble, one where it may pass, or else the first. Whoever has
 *  the origin `first` comes before the others, whoever has `last` after them. */
export async function findPlace(wire, places, { first, last }) {
  const rank = ({ origins }) => {
    const all = [...origins.values()];
    return Number(all.includes(last)) - Number(all.includes(first));
  };
  const seen = new Set();
  let best = null;
  for (const place of [...places].sort((a, b) => rank(a) - rank(b))) {
    const origins = wire.listeners.map((name) => place.origins.get(name)).filter(Boolean);
    // It has none of these, or was there already under another name.
    if (best !== null && origins.every((origin) => seen.has(origin))) continue;
    for (const origin of origins) seen.add(origin);
    const found = { place, ...await findListener(origins) };
    if (found.trouble === null && wire.isTried && !await canOpenWebSocket(found.origin)) found.trouble = 'untaken';
    if (found.trouble === null) return found;
    if (best === null || (mayPass(found.trouble) && !mayPass(best.trouble))) best = found;
  }
  return best;
}
