// What most tests stand on: certificates, a server and a browser that trusts it, made once a file.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';

import { Visit, launch } from './browser.mjs';
import { Certificates, Server } from './server.mjs';

export class Stage {
  /** Sets the stage before the tests of this file, and clears it after them. */
  static set(options) {
    const stage = new Stage();
    before(async () => {
      stage.certificates = await Certificates.create();
      stage.server = await Server.start(stage.certificates, options);
      stage.browser = await launch(await stage.certificates.pin());
    });
    after(async () => {
      await stage.browser?.close();
      await stage.server?.stop();
      await stage.certificates?.remove();
    });
    return stage;
  }

  /** Another server with the same certificates, for one test. */
  async another(t, options) {
    const server = await Server.start(this.certificates, { metrics: 'off', ...options });
    t.after(() => server.stop());
    return server;
  }

  /** The page of a server, for one test; the stage's own, on HTTP/2, when none is named. */
  async visit(t, { server = this.server, listener = 'http2', url = server.origin(listener), ...options } = {}) {
    const visit = await Visit.to(this.browser, url, options);
    t.after(() => visit.close());
    return visit;
  }

  /** A test on the page, which fails if the browser's console has anything to complain of. */
  onPage(test, options) {
    return async (t) => {
      const visit = await this.visit(t, options);
      await test(visit.panels, visit.page);
      assert.deepEqual(visit.complaints, []);
    };
  }
}
