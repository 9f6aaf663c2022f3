// The picture of a panel: the browser on the left, the server on the right, each connection a pipe between them, each
// stream a line in its pipe, each event a spark on its line. It says nothing that the words beside it do not say.

import { Surface, isStill } from './canvas.js';

const MARGIN = 14;
const WALL = 6;
/** Between two lines: side by side, and inside one pipe. */
const PITCH = 22;
const SHARED_PITCH = 9;
/** How far a stream gets that has no connection. */
const STUB = 26;
/** How fast things come to their place: the share of the way left after a second. */
const EASE = 0.0004;
const SPARK_MS = 750;
const SPARK_EVERY_MS = 110;
const GLOW_MS = 700;
/** Who stands last; the others keep the place that they have. */
const RANKS = { stuck: 1, refused: 2 };

export class Picture {
  #surface;
  #lines = [];
  #drawnAt = 0;

  /** `changed` is called when it has to be drawn again. */
  constructor(canvas, changed) {
    this.#surface = new Surface(canvas, changed);
  }

  /** Draws streams `{ state, events }`, or as many empty places as `ghosts` says if there are none. With `isShared`
   *  they share one connection. Whether something still moves is the result. */
  draw(now, { streams, ghosts, isShared }) {
    const context = this.#surface.clear();
    if (this.#surface.width === 0) return false;
    const passed = Math.min(100, now - this.#drawnAt);
    this.#drawnAt = now;
    this.#match(streams, ghosts);
    const space = this.#space(isShared);
    const isMoving = this.#advance(now, passed, space);
    this.#drawWalls(context);
    if (isShared) this.#drawSharedPipe(context, space);
    for (const line of this.#lines) this.#drawLine(context, line, space, now);
    this.#drawReason(context, space);
    if (streams.length === 0 && this.#lines.every((line) => line.grown < 0.02)) this.#drawInvitation(context, ghosts);
    return isMoving;
  }

  /** Has a line for each stream; a new one starts where it belongs. */
  #match(streams, ghosts) {
    const wanted = streams.length || ghosts;
    while (this.#lines.length > wanted) this.#lines.pop();
    while (this.#lines.length < wanted) this.#lines.push(new Line());
    this.#lines.forEach((line, i) => line.take(streams[i]));
  }

  /** How much room there is, and who is where: those that wait stand last. */
  #space(isShared) {
    const { width, height } = this.#surface;
    const count = this.#lines.length;
    const pitch = Math.min(PITCH, (height - 2 * MARGIN) / count);
    const inner = isShared ? Math.min(SHARED_PITCH, (height * 0.6) / count) : pitch;
    const order = this.#lines.map((line, i) => [RANKS[line.state] ?? 0, i]).sort(([a, i], [b, j]) => a - b || i - j);
    const held = isShared ? this.#lines.filter((line) => line.isHeld).length : 0;
    const top = (height - pitch * (count - 1)) / 2;
    const innerTop = (height - inner * (held - 1)) / 2;
    let lane = 0;
    order.forEach(([, i], place) => {
      const line = this.#lines[i];
      line.target = { y: top + pitch * place, lane: innerTop + inner * lane };
      if (line.isHeld) lane += 1;
    });
    const left = WALL + 8;
    return { isShared, pitch, inner, held, left, mouth: isShared ? Math.max(64, width * 0.24) : left, right: width - WALL, height, width };
  }

  #advance(now, passed, { isShared }) {
    const ease = isStill() ? 1 : 1 - EASE ** (passed / 1000);
    let isMoving = false;
    for (const line of this.#lines) {
      if (line.move(now, ease, isShared)) isMoving = true;
    }
    return isMoving;
  }

  #drawWalls(context) {
    const { width, height, colors } = this.#surface;
    context.fillStyle = colors.edge;
    for (const x of [0, width - WALL]) {
      context.beginPath();
      context.roundRect(x, 2, WALL, height - 4, 3);
      context.fill();
    }
  }

  /** One connection around all lines that are in it. */
  #drawSharedPipe(context, { mouth, right, height, inner, held }) {
    const grown = Math.max(0, ...this.#lines.map((line) => line.grown));
    const broken = Math.max(0, ...this.#lines.map((line) => line.broken));
    if (grown < 0.02 && broken < 0.02) return;
    const thickness = Math.max(inner * held + 10, 18);
    const isBroken = broken > 0.02 && broken < 0.98;
    this.#pipe(context, mouth, right, height / 2, thickness, grown, isBroken ? broken : 0);
  }

  #pipe(context, from, to, y, thickness, grown, broken) {
    const { colors } = this.#surface;
    const middle = (from + to) / 2;
    const half = (to - from) / 2;
    const pieces = broken > 0
      ? [[from, middle - half * broken], [middle + half * broken, to]]
      : [[from, from + (to - from) * grown]];
    for (const [start, end] of pieces) {
      if (end - start < 3) continue;
      context.beginPath();
      context.roundRect(start, y - thickness / 2, end - start, thickness, Math.min(7, thickness / 2));
      context.fillStyle = colors.soft;
      context.fill();
      // Many thin pipes would be nothing but their outlines.
      if (thickness < 4 && broken === 0) continue;
      context.strokeStyle = broken > 0 ? colors.bad : colors.edge;
      context.lineWidth = Math.min(1, thickness / 4);
      context.stroke();
    }
  }

  #drawLine(context, line, space, now) {
    const { colors } = this.#surface;
    const { pitch, left, right, isShared } = space;
    const y = line.y;
    if (!isShared && (line.grown > 0.02 || line.broken > 0.02)) {
      const isBroken = line.broken > 0.02 && line.broken < 0.98;
      this.#pipe(context, left + 6, right, y, Math.min(14, pitch * 0.66), line.grown, isBroken ? line.broken : 0);
    }
    if (line.grown > 0.02 && line.broken < 0.02) this.#drawThread(context, line, space, now);
    if (line.state === 'stuck' || line.state === 'refused') this.#drawStub(context, line, space);
    const radius = Math.max(0.75, Math.min(4, pitch * 0.3));
    context.beginPath();
    context.arc(left, y, radius, 0, 2 * Math.PI);
    context.fillStyle = { open: colors.good, stuck: colors.card, refused: colors.bad }[line.state] ?? colors.card;
    context.strokeStyle = { open: colors.good, stuck: colors.bad, refused: colors.bad, away: colors.bad }[line.state] ?? colors.edge;
    context.lineWidth = Math.min(1.75, radius);
    context.fill();
    context.stroke();
  }

  /** The stream itself, and its events on their way to the browser. */
  #drawThread(context, line, { left, mouth, right, isShared, pitch, inner }, now) {
    const { colors } = this.#surface;
    const end = mouth + (right - mouth) * line.grown;
    context.beginPath();
    context.moveTo(left, line.y);
    if (isShared) {
      const bend = (left + mouth) / 2;
      context.bezierCurveTo(bend, line.y, bend, line.lane, mouth, line.lane);
    }
    context.lineTo(end, isShared ? line.lane : line.y);
    const isBright = isStill() && now - line.heardAt < 1000;
    context.strokeStyle = isBright ? colors.spark : colors.thread;
    context.lineWidth = Math.max(0.6, Math.min(isBright ? 3 : 1.75, (isShared ? inner : pitch) * 0.3));
    context.stroke();
    const radius = Math.max(1.1, Math.min(3.25, (isShared ? inner : pitch) * 0.34));
    context.fillStyle = colors.spark;
    for (const born of line.sparks) {
      const x = right - (right - left) * Math.min(1, (now - born) / SPARK_MS);
      if (x > end) continue;
      context.beginPath();
      context.arc(x, isShared ? bent(x, line, left, mouth) : line.y, radius, 0, 2 * Math.PI);
      context.fill();
    }
  }

  /** A stream that has no connection. */
  #drawStub(context, line, { left, pitch }) {
    const { colors } = this.#surface;
    context.beginPath();
    context.setLineDash([3, 3]);
    context.moveTo(left + 6, line.y);
    context.lineTo(left + STUB, line.y);
    context.strokeStyle = colors.bad;
    context.lineWidth = Math.max(0.6, Math.min(1.5, pitch * 0.3));
    context.stroke();
    context.setLineDash([]);
  }

  #drawInvitation(context, ghosts) {
    const { width, height, colors, font } = this.#surface;
    context.fillStyle = colors.muted;
    context.font = font;
    context.textBaseline = 'middle';
    context.textAlign = 'center';
    context.fillText(`${ghosts} ${ghosts === 1 ? 'stream' : 'streams'} to open`, width / 2, height / 2);
    context.textAlign = 'left';
  }

  /** Says beside those that wait what they wait for. */
  #drawReason(context, { left }) {
    const { colors, font } = this.#surface;
    const waiting = this.#lines.filter((line) => line.state === 'stuck');
    if (waiting.length === 0) return;
    const middle = waiting.reduce((sum, line) => sum + line.y, 0) / waiting.length;
    const [first, last] = [Math.min(...waiting.map((line) => line.y)), Math.max(...waiting.map((line) => line.y))];
    const x = left + STUB + 8;
    context.strokeStyle = colors.bad;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x, first - 5);
    context.lineTo(x, last + 5);
    context.stroke();
    context.fillStyle = colors.bad;
    context.font = font;
    context.textBaseline = 'middle';
    const others = this.#lines.some((line) => line.state === 'open');
    context.fillText(others ? `${waiting.length} stuck: no connection left` : `${waiting.length} stuck: no answer`, x + 9, middle);
  }
}

/** One stream as it is drawn: where it is, and how much of it is there. */
class Line {
  state = 'ghost';
  y = null;
  lane = null;
  grown = 0;
  broken = 0;
  heardAt = -Infinity;
  sparks = [];
  target = { y: 0, lane: 0 };
  #events = 0;
  #isNews = false;

  /** Whether it has a place in a connection, or did until a moment ago. */
  get isHeld() {
    return this.state === 'open' || this.grown > 0.02;
  }

  take(stream) {
    const state = stream?.state ?? 'ghost';
    if (this.state === 'open' && state === 'away') this.broken = 0.03;
    if (state !== 'away') this.broken = 0;
    this.state = state;
    const events = stream?.events ?? 0;
    this.#isNews = events > this.#events;
    this.#events = events;
  }

  /** Goes a step towards where it belongs; whether there is more to go. */
  move(now, ease) {
    this.y = approach(this.y ?? this.target.y, this.target.y, ease);
    this.lane = approach(this.lane ?? this.target.lane, this.target.lane, ease);
    if (this.broken > 0) {
      this.broken = approach(this.broken, 1, ease / 2);
      if (this.broken > 0.98) this.grown = 0;
    } else {
      this.grown = approach(this.grown, this.state === 'open' ? 1 : 0, ease);
    }
    this.#spark(now);
    const isThere = this.y === this.target.y && this.lane === this.target.lane && (this.grown === 0 || this.grown === 1);
    return !isThere || (this.broken > 0 && this.broken < 0.98) || this.sparks.length > 0 || (isStill() && now - this.heardAt < GLOW_MS);
  }

  #spark(now) {
    if (this.#isNews && !isStill() && now - this.heardAt >= SPARK_EVERY_MS) this.sparks.push(now);
    if (this.#isNews && now - this.heardAt >= SPARK_EVERY_MS) this.heardAt = now;
    this.#isNews = false;
    while (this.sparks.length > 0 && now - this.sparks[0] > SPARK_MS) this.sparks.shift();
    if (this.state !== 'open') this.sparks.length = 0;
  }
}

function approach(from, to, ease) {
  const next = from + (to - from) * ease;
  return Math.abs(next - to) < 0.01 ? to : next;
}

/** Where the bent part of a shared line is at `x`; the curve of `#drawThread`, near enough for a spark. */
function bent(x, line, left, mouth) {
  if (x >= mouth) return line.lane;
  const way = Math.max(0, (x - left) / (mouth - left));
  return line.y + (line.lane - line.y) * way * way * (3 - 2 * way);
}
