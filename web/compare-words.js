// What a comparison says in sentences: how far it is, what came of it, why figures are weak, what was in the way.

import * as figures from './figures.js';
import * as words from './words.js';

/** An event sent so much later than it was due was not sent by a steady publisher. */
const LATE_MS = 25;
/** Medians that differ by less than this, or by less than half, are not told apart: from one comparison to the next
 *  the same wire's differ as much. */
const CLOSE_MS = 1;
const CLOSE = 1.5;

/** 0.8 ms, 12.3 ms, 123 ms, 1.2 s. */
export function fine(ms) {
  if (ms == null) return '–';
  if (ms >= 100) return figures.milliseconds(ms);
  return `${ms.toFixed(1)} ms`;
}

/** How far it is. */
export function progress(compare) {
  const { turn, turns, settings, stage, isRunning, wasStopped, refusal } = compare;
  if (refusal) return `It cannot go on: ${refusal}. Start the server, or see what it says, then compare again.`;
  if (!isRunning) {
    if (turns.length === 0) return '';
    if (turns.some(({ trouble }) => trouble === 'gone')) return 'Ended early: the server went away.';
    if (!wasStopped) return 'Done.';
    return turns.some(({ figures }) => figures) ? 'Stopped. What was measured until then is below.' : 'Stopped before anything was measured.';
  }
  if (wasStopped) return 'Stopping: the streams are being closed.';
  if (stage === 'preparing') return 'Measuring what the measuring costs…';
  if (turn === null) return 'Asking the listener for a sign of life…';
  const doing = {
    opening: `opening ${plural(settings.streams, 'stream')}`,
    publishing: 'publishing',
    closing: 'closing the streams',
  }[turn.phase];
  return `${turns.indexOf(turn) + 1} of ${turns.length}, ${turn.contender.title}: ${doing}`;
}

/** What moves too fast to be read aloud. */
export function count({ turn, wasStopped }) {
  return turn?.phase === 'publishing' && !wasStopped ? `, ${turn.sent} of ${turn.events} events` : '';
}

/** What came of it, in a few sentences. */
export function outcome({ turns }) {
  const measured = turns.filter(({ figures }) => figures?.samples > 0);
  if (measured.length === 0) return '';
  return [connections(turns), latency(measured), loss(measured)].filter(Boolean).join(' ');
}

/** What is in every latency, since the events have to reach the server first. */
export function basis({ turns }) {
  const answered = turns.map(({ figures }) => figures?.answered_p50_ms).filter((ms) => ms != null);
  if (answered.length === 0) return '';
  const [least, most] = [fine(Math.min(...answered)), fine(Math.max(...answered))];
  const within = least === most ? least : `${least} to ${most}, depending on the wire`;
  return `Half of the publishes themselves were answered within ${within}: their way to the server is in each latency.`;
}

function connections(turns) {
  const tried = turns.filter(({ figures }) => figures);
  const stuck = tried.filter(({ figures }) => figures.stuck > 0);
  const whole = tried.filter(({ figures }) => figures.open === figures.asked && figures.connections !== null);
  const said = stuck.map(({ contender, figures }) => `${contender.title} had ${figures.open} of ${plural(figures.asked, 'stream')} open and ${figures.stuck} stuck.`);
  const carried = [...Map.groupBy(whole, ({ figures }) => figures.connections)]
    .map(([number, turns]) => `on ${plural(number, 'connection')} with ${titles(turns)}`);
  if (whole.length > 0) said.push(`All ${whole[0].figures.asked} were open ${carried.join(', and ')}.`);
  return said.join(' ');
}

/** Wires that carried all streams are held against each other; fewer streams are less work, so the rest stand apart. */
function latency(measured) {
  const sorted = measured.toSorted((a, b) => a.figures.p50_ms - b.figures.p50_ms);
  const whole = sorted.filter(({ figures }) => figures.open === figures.asked);
  const least = whole[0]?.figures.p50_ms;
  const close = whole.filter(({ figures }) => figures.p50_ms <= Math.max(least * CLOSE, least + CLOSE_MS));
  const said = [];
  if (close.length > 1) said.push(`${fine(least)} to ${fine(close.at(-1).figures.p50_ms)} with ${titles(close)} (too close to tell apart)`);
  for (const turn of close.length > 1 ? whole.slice(close.length) : whole) said.push(`${fine(turn.figures.p50_ms)} with ${titles([turn])}`);
  for (const turn of sorted.filter((turn) => !whole.includes(turn))) {
    const { open, p50_ms: p50 } = turn.figures;
    said.push(`${fine(p50)} with ${titles([turn])}, which had only ${plural(open, 'stream')} to serve`);
  }
  return `Half of the events came within ${said.join('; ')}.`;
}

function loss(measured) {
  // What a server took with it that went away is told where that is.
  const worst = measured.filter(({ figures, trouble }) => trouble !== 'gone' && figures.lost + figures.twice > 0);
  if (worst.length === 0) return 'No event was lost, and none came twice.';
  return worst.map(({ contender, figures }) => `With ${contender.title}, ${figures.lost} were lost and ${figures.twice} came twice.`).join(' ');
}

/** Why figures are worth less than they seem, a sentence each. */
export function weaknesses({ turns, wasStopped, clockStep }) {
  const which = (isSo) => turns.filter((turn) => turn.figures && isSo(turn.figures, turn)).map(({ contender }) => contender.title).join(', ');
  return [
    [which((_, { wasHidden }) => wasHidden), 'the page was in the background, where browsers slow timers down. Keep it in front and compare again.'],
    [which(() => clockStep > CLOSE_MS), `this browser’s clock moves in steps of ${fine(clockStep)}, and latencies are no more exact than that.`],
    [which(({ sent_late_p99_ms: late }) => late > LATE_MS), 'this page was too busy to publish in time, and its latencies are partly its own. Close other pages, or take fewer streams.'],
    [which(({ to_others: others, foreign }) => others > 0 || foreign > 0), 'the server delivered events to others meanwhile, which are in the bytes and maybe in the connections. Compare when nobody else is there.'],
    [which(({ not_published: failed }, { trouble }) => failed > 0 && trouble !== 'gone'), 'some events could not be published, and count for nothing.'],
    [which(({ reconnects }, { trouble }) => reconnects > 0 && trouble !== 'gone'), 'streams lost their connection and came back, and what they had to wait for is in the latencies.'],
    [which(({ has_left: hasLeft }) => hasLeft === false), 'the server still counted its streams 5 seconds after they were closed.'],
    [which((_, turn) => wasStopped && turn.wasStopped), 'it was stopped, and has fewer events than the others.'],
  ].filter(([titles]) => titles).map(([titles, why]) => `${titles}: ${why}`);
}

/** What was in a turn's way, and what to do; empty when nothing was. */
export function hindrance({ trouble, place, contender, figures }) {
  switch (trouble) {
    case null:
      return place?.passedOver
        ? `In cleartext on ${place.origin}: the browser has no answer from ${place.passedOver}, whose certificate is not trusted here yet.`
        : '';
    case 'off':
      return `The listener ${contender.listeners[0]} is off. Start the server with --${contender.listeners[0]} ADDR:PORT to compare it.`;
    case 'untaken':
      return 'No WebSocket could be opened over HTTP/2, by this browser or by this server.';
    case 'busy':
      return `The server took ${figures?.open ? `only ${figures.open} of the streams` : 'none of the streams'}: it is full or about to stop. Close other pages of it, or compare fewer streams.`;
    case 'gone':
      return 'The server went away meanwhile: the comparison ends here, and what came until then is kept; what it had taken and not delivered counts as lost. Start it again, then compare again.';
    default:
      return words.trouble({ trouble, origin: place.origin, passedOver: null, fellBack: false });
  }
}

function titles(turns) {
  const all = turns.map(({ contender }) => contender.title);
  return all.length < 2 ? all.join('') : `${all.slice(0, -1).join(', ')} and ${all.at(-1)}`;
}

function plural(number, noun) {
  return `${figures.count(number)} ${noun}${number === 1 ? '' : 's'}`;
}
