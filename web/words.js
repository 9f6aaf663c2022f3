// What the page says in sentences. What is said of the server its counts bear out.

import * as figures from './figures.js';

/** All the HTTP/1.1 connections that a browser opens to one host and port. */
const BROWSER_CONNECTIONS = 6;

/** How a panel's streams stand, and why. */
export function status(panel, standing, counts) {
  if (panel.trouble === 'off') return 'Off.';
  if (panel.isChecking || !panel.isLocated) return 'Asking the listener for a sign of life…';
  if (!panel.isRunning) return panel.isOutOfReach ? 'Out of reach.' : panel.wasStarted ? 'Stopped.' : 'Ready to start.';
  if (standing.asked === 0) return 'Opening…';
  return `${countsInWords(standing)} ${reason(panel, standing, counts)}`.trim();
}

/** What the picture shows. */
export function picture({ way }, { asked, open, stuck }) {
  if (asked === 0) return 'Picture: the browser and the server, nothing between them.';
  const pipes = way.isShared ? Math.min(1, open) : open;
  const lines = open === 0 ? '' : way.isShared ? ` with ${plural(open, 'stream')} in it` : ', one stream in each';
  const waiting = stuck ? ` ${plural(stuck, 'stream')} at the browser without one.` : '';
  return `Picture: ${plural(pipes, 'connection')} between browser and server${lines}.${waiting}`;
}

/** What is wrong with a panel's listener, and what to do; empty when nothing is. */
export function trouble({ trouble, origin, passedOver, way, fellBack }) {
  const isSecure = origin?.startsWith('https:');
  switch (trouble) {
    case null:
      if (fellBack) return 'No WebSocket could be opened over HTTP/2, by this browser or by this server: these are on HTTP/1.1.';
      return passedOver
        ? `The browser has no answer from ${passedOver}: its certificate is not trusted here yet, or nothing listens there. Until then this panel uses ${origin}, in cleartext.`
        : '';
    case 'off':
      return `The listener ${way.listeners[0]} is off. Start the server with --${way.listeners[0]} ADDR:PORT to have this panel.`;
    case 'foreign':
      return `${origin} answers, but not to pages of ${location.origin}. Start the server with --allow-origin ${location.origin}.`;
    case 'late':
      return `${origin} has not answered in 5 seconds. Other tabs may hold all connections that the browser has for it.`;
    case 'busy':
      return `${origin} takes no stream now: the server is full or about to stop. Streams come back by themselves.`;
    case 'gone':
      return `${origin} does not answer any more: the server has stopped or cannot be reached. Streams come back by themselves.`;
    default:
      return isSecure
        ? `The browser has no answer from ${origin}: its certificate is not trusted here yet, or nothing listens there.`
        : `The browser has no answer from ${origin}: nothing listens there, or it cannot be reached.`;
  }
}

/** What else is worth knowing of a panel's streams. */
export function aside({ tally, origin, way }, counts, feed) {
  const parts = [];
  if (tally.lastGap) parts.push(gapInWords(tally.lastGap));
  if (tally.twice) parts.push(`${plural(tally.twice, 'event')} came twice or out of order.`);
  if (tally.lastBusy) parts.push(`The server sent streams away for a while: it was ${tally.lastBusy}.`);
  if (counts && feed.isStream && feed.origin === origin && way.counted === 'sse_http2') {
    parts.push('One of the streams that the server counts carries this page’s own numbers.');
  }
  return parts.join(' ');
}

/** What came of the last cut. */
export function proof({ proof, isCutting }) {
  if (isCutting) return 'Cutting: the server ends the connections, the streams come back, a long poll tells what they should have.';
  if (proof === null) return '';
  const at = `Cut at ${proof.at.toLocaleTimeString()}`;
  if (proof.trouble) return `${at}: ${proof.trouble}`;
  const { cut, back, waiting, after } = proof;
  const late = cut - back - waiting;
  const who = back === cut && cut > 1 ? `all ${cut} streams` : `${back} of ${plural(cut, 'stream')}`;
  const parts = [back === 0 ? `${at}: no stream has come back yet.` : `${at}: ${who} resumed within ${figures.milliseconds(after)}. ${verdict(proof)}`];
  if (waiting) parts.push(`${waiting} ${waiting === 1 ? 'waits' : 'wait'} for a connection: streams that had waited took them.`);
  if (late && back) parts.push(`${late} ${late === 1 ? 'has' : 'have'} not come back yet.`);
  return parts.join(' ');
}

/** Whether a cut lost something. */
export function isLoss(proof) {
  return proof !== null && (Boolean(proof.trouble) || proof.back + proof.waiting < proof.cut || proof.missing > 0 || proof.twice > 0);
}

function verdict({ events, missing, twice, gaps }) {
  const told = gaps > 0 ? ' The log no longer had them all, and a gap notice said so.' : '';
  if (events === 0) return `No event came meanwhile, so none could be lost.${told}`;
  const lost = missing ? `${missing} missing` : 'none missing';
  const doubled = twice ? `${twice} twice` : 'none twice';
  return `${plural(events, 'event')} since, says a long poll: ${lost}, ${doubled} on any stream.${told}`;
}

/** Why it is as it is. */
function reason({ way }, { asked, open, stuck }, counts) {
  if (stuck > 0) {
    if (!way.crowds || open !== BROWSER_CONNECTIONS) return 'Those have had no answer yet.';
    const unheard = counts && counts.streams < asked ? ', and the server has not heard of them' : '';
    return `A browser opens at most ${BROWSER_CONNECTIONS} HTTP/1.1 connections to one host and port, and each `
      + `stream keeps one: the other ${stuck === 1 ? 'one waits' : `${stuck} wait`} inside the browser${unheard}.`;
  }
  if (open !== asked || open < 2 || !counts || counts.streams < open) return '';
  if (counts.connections === 1) return 'They share one connection: HTTP/2 carries many streams side by side, so none waits.';
  if (counts.connections !== open || counts.streams !== open) return '';
  return way.counted === 'websocket'
    ? 'Each has a connection of its own: a browser allows a page far more WebSockets than HTTP/1.1 requests, and the server carries them all.'
    : 'Each has a connection of its own.';
}

function countsInWords({ asked, open, stuck, opening, away, refused }) {
  const parts = [`${open} of ${plural(asked, 'stream')} open`];
  if (opening) parts.push(`${opening} opening`);
  if (stuck) parts.push(`${stuck} stuck`);
  if (away) parts.push(`${away} reconnecting`);
  if (refused) parts.push(`${refused} refused for good`);
  return `${parts.join(', ')}.`;
}

function gapInWords({ topic, reason, missed }) {
  const lost = missed == null ? 'how many events is not known' : plural(missed, 'event');
  return `Last gap on ${topic}: ${reason}, ${lost}.`;
}

function plural(number, noun) {
  return `${figures.count(number)} ${noun}${number === 1 ? '' : 's'}`;
}
