// A tab with nothing in it but a client, which notes how it stands and what it is given.

import { until, within } from './wait.mjs';

export class Tab {
  static async open(t, stage, options = {}, server = stage.server) {
    const { page } = await stage.visit(t, { url: `${server.origin('http1')}/healthz` });
    return new Tab(page).begin(options);
  }

  constructor(page) {
    this.page = page;
  }

  async begin(options, from = '') {
    await this.page.evaluate(async ([from, options]) => {
      const { Client } = await import(`${from}/client.js`);
      window.client = new Client(options);
      window.told = [];
      window.standings = [];
      const note = () => {
        const { state, wire, reason } = window.client.standing;
        window.standings.push([state, wire, reason].filter(Boolean).join(' '));
      };
      window.client.addEventListener('standing', note);
      note();
    }, [from, { share: false, ...options }]);
    return this;
  }

  /** Reads topics; the ids that come are noted, and gap notices whole. */
  read(topics, after) {
    return within('the client to know where it reads from', this.page.evaluate(async ([topics, after]) => {
      const take = (event) => window.told.push(event.type === '$gap' ? event : [event.topic, event.data]);
      window.stop = await window.client.subscribe(topics, take, { after });
    }, [topics, after]));
  }

  told() {
    return this.page.evaluate('window.told');
  }

  /** How it has stood, one after the other. */
  standings() {
    return this.page.evaluate('window.standings');
  }

  /** Waits until it is open, on this wire. */
  opens(wire) {
    return until(`a connection by ${wire}`, () => this.standings(), (all) => all.at(-1) === `open ${wire}`);
  }

  use(options) {
    return this.page.evaluate((options) => window.client.use(options), options);
  }
}
