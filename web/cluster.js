// The section of the replicas: what each counts (replicas.js), and a reader that goes on elsewhere when its server dies.

import { ClusterView } from './cluster-view.js';
import { RovingReader } from './cluster-reader.js';
import { Tally } from './streams.js';

export class Cluster {
  replicas;
  reader = null;
  topic = '';
  #shared;
  #view;
  #isHeld = false;
  /** What is read when the section comes back, or begins. */
  #wanted;

  /** `shared` is what it needs of the page: the `replicas`, the event `types` to listen for, the `clock`, and `changed`. */
  constructor(section, shared) {
    this.#shared = shared;
    this.replicas = shared.replicas;
    this.#view = new ClusterView(section, this, shared.changed);
    this.#wanted = this.#view.topic;
  }

  /** The server has told its numbers again: from the first on it is known whether there is anything to read. */
  took() {
    if (!this.#isHeld) this.release();
  }

  /** Reads this topic from now on; what it counts begins anew. */
  read(topic) {
    this.stop();
    this.topic = topic;
    this.#wanted = topic;
    const { types, clock, changed } = this.#shared;
    const places = () => this.replicas.homes;
    this.reader = new RovingReader({ topic, types, places, clock, tally: new Tally(), changed: () => changed() });
    changed(true);
  }

  stop() {
    this.#wanted = null;
    this.reader?.close();
    this.#shared.changed(true);
  }

  get isReading() {
    return this.reader !== null && this.reader.state !== 'closed';
  }

  listen(type) {
    if (this.isReading) this.reader.listen(type);
  }

  draw(now) {
    this.#view.draw(now);
  }

  hold() {
    const wanted = this.#wanted;
    if (this.isReading) this.stop();
    this.#wanted = wanted;
    this.#isHeld = true;
  }

  release() {
    this.#isHeld = false;
    if (this.replicas.hasRelay && this.#wanted && !this.isReading) this.read(this.#wanted);
  }

  leave() {
    this.hold();
  }

  comeBack() {
    this.release();
  }
}
