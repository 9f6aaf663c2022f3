// The system's Chromium with the page open in it, and the page's panels as a reader sees them.

import { readFile } from 'node:fs/promises';

import { chromium } from 'playwright-core';

import { PATIENCE_MS, until } from './wait.mjs';

export const PANELS = ['SSE on HTTP/1.1', 'SSE on HTTP/2', 'WebSocket'];

/** What the HTTP/1.1 panel says of ten streams. */
export const SIX_OF_TEN = '6 of 10 streams open, 4 stuck. A browser opens at most 6 HTTP/1.1 connections to one host and '
  + 'port, and each stream keeps one: the other 4 wait inside the browser, and the server has not heard of them.';

/** Starts a browser that trusts these keys (none: nothing but what the system trusts). */
export function launch(...pins) {
  const quiet = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'];
  const trust = pins.length ? [`--ignore-certificate-errors-spki-list=${pins.join(',')}`] : [];
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-component-update', '--disable-sync', ...quiet, ...trust],
  });
}

/** A page in a browser profile of its own, so in connection pools of its own. */
export class Visit {
  static async to(browser, url, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    const visit = new Visit(await context.newPage());
    await visit.page.goto(url);
    return visit;
  }

  /** What the browser's console was told of as wrong, and uncaught errors. */
  complaints = [];

  constructor(page) {
    this.page = page;
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.complaints.push(message.text());
    });
    page.on('pageerror', (error) => this.complaints.push(String(error)));
  }

  panel(title) {
    return new Panel(this.page.getByRole('region', { name: title, exact: true }));
  }

  get panels() {
    return PANELS.map((title) => this.panel(title));
  }

  async close() {
    await this.page.context().close();
  }
}

/** One panel, by what it shows. */
export class Panel {
  constructor(region) {
    this.region = region;
  }

  async start(topic, streams) {
    await this.region.getByLabel('Topic').fill(topic);
    await this.region.getByLabel('Streams').fill(String(streams));
    await this.region.getByRole('button', { name: 'Start' }).click();
  }

  async stop() {
    await this.region.getByRole('button', { name: 'Stop' }).click();
  }

  field(name) {
    return this.region.locator(`[data-field=${name}]`);
  }

  /** All fields as they read. */
  read() {
    return this.region.evaluate((region) => {
      const fields = [...region.querySelectorAll('[data-field]')];
      return Object.fromEntries(fields.map((field) => [field.dataset.field, field.textContent]));
    });
  }

  /** Waits until these fields read so; a regular expression need only match. */
  shows(want) {
    const agrees = (text, wanted) => (wanted instanceof RegExp ? wanted.test(text) : text === String(wanted));
    return until(
      `the panel to show ${Object.entries(want).map(([name, wanted]) => `${name} ${wanted}`).join(', ')}`,
      () => this.read(),
      (seen) => Object.entries(want).every(([name, wanted]) => agrees(seen[name], wanted)),
    );
  }
}

/** The comparison, by what it shows and saves. */
export class Comparison {
  constructor(page) {
    this.page = page;
    this.region = page.getByRole('region', { name: 'Compare', exact: true });
  }

  async start(streams, seconds) {
    await this.region.getByLabel('Streams on each').fill(String(streams));
    await this.region.getByLabel('Seconds on each').fill(String(seconds));
    await this.press('Compare');
  }

  press(name) {
    return this.region.getByRole('button', { name, exact: true }).click();
  }

  field(name) {
    return this.region.locator(`[data-field=${name}]`);
  }

  /** Waits until its status reads so; a regular expression need only match. */
  says(wanted) {
    const agrees = (text) => (wanted instanceof RegExp ? wanted.test(text) : text === wanted);
    return until(`the comparison to say ${wanted}`, () => this.field('status').textContent(), agrees);
  }

  /** Its troubles, a line each, but for those of a slow machine: how busy it is no test decides. */
  async troubles() {
    const lines = await this.field('troubles').locator('li').allTextContents();
    return lines.filter((line) => !line.includes('this page was too busy to publish in time'));
  }

  /** The file that it saves: its name, and what is in it. */
  async save() {
    const downloaded = this.page.waitForEvent('download');
    await this.press('Save result');
    const download = await downloaded;
    return { name: download.suggestedFilename(), result: JSON.parse(await readFile(await download.path(), 'utf8')) };
  }
}

/** The workbench, by what it shows. */
export class Workbench {
  constructor(page) {
    this.page = page;
    this.region = page.getByRole('region', { name: 'Live SQL', exact: true });
    this.panel = new Panel(this.region);
  }

  press(name) {
    return this.region.getByRole('button', { name, exact: true }).click();
  }

  field(name) {
    return this.region.locator(`[data-field=${name}]`).first();
  }

  wire(title) {
    return this.field('wire').selectOption(title);
  }

  /** Asks for a query; what comes of it is to be waited for. */
  async run(name, sql) {
    await this.field('name').fill(name);
    await this.field('sql').fill(sql);
    await this.press('Run');
  }

  async edit(name, sql) {
    await this.card(name).region.getByRole('button', { name: `Edit ${name}` }).click();
    await this.field('sql').fill(sql);
    await this.press('Change it');
  }

  async remove(name) {
    await this.card(name).region.getByRole('button', { name: `Remove ${name}` }).click();
  }

  /** The names of the queries, the newest first. */
  names() {
    return this.region.getByRole('listitem').filter({ has: this.page.getByRole('heading') }).locator('h3').allTextContents();
  }

  /** One query: its region, and what it shows. */
  card(name) {
    const heading = this.page.getByRole('heading', { name, exact: true });
    return new Panel(this.region.getByRole('listitem').filter({ has: heading }));
  }

  /** Waits until the fields of the editor and of the stream read so. */
  shows(want) {
    return this.panel.shows(want);
  }
}
