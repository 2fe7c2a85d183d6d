/**
 * Icons: a page has them all with it. What it says while its node is away needs its icon too, and there is nobody then to
 * fetch it from.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startNode } from './harness.mjs';
import { chromium, describePages, node } from './pages-kit.mjs';

/** @typedef {import('playwright-core').Page} Page */

/** Runs in a page: every reference of an icon that leads nowhere, and every icon that is seen and has no shape. */
function astray() {
  const uses = [...document.querySelectorAll('use')];
  const lost = uses.filter((use) => !document.querySelector(`symbol${use.getAttribute('href')}`));
  const shown = uses.filter((use) => use.closest('svg')?.checkVisibility());
  const bare = shown.filter((use) => use.getBBox().width === 0);
  return { icons: uses.length, lost: lost.map((use) => use.getAttribute('href')), bare: bare.map((use) => use.getAttribute('href')) };
}

/** @param {Page} page @param {string} where the icon of something that is said */
const hasShape = (page, where) => page.evaluate((selector) => {
  const uses = [...document.querySelectorAll(`${selector} use`)].filter((use) => use.closest('svg')?.checkVisibility());
  return uses.length > 0 && uses.every((use) => use instanceof SVGUseElement && use.getBBox().width > 0);
}, where);

describePages('icons', 120_000, () => {
  test('every page has all of its icons with it', async () => {
    for (const path of ['/', '/room/quiet', '/recorder', '/library', '/status', '/nowhere']) {
      const page = await chromium.open();
      /** @type {string[]} */
      const fetched = [];
      page.on('request', (request) => fetched.push(new URL(request.url()).pathname));
      await page.goto(node.url + path, { waitUntil: 'networkidle' });
      const { icons, lost, bare } = await page.evaluate(astray);
      assert.ok(icons > 0, path);
      assert.deepEqual([lost, bare], [[], []], path);
      assert.ok(!fetched.some((name) => name.includes('icons.svg')), `${path} fetches none`);
      await page.context().close();
    }
    chromium.complaints.splice(0, Infinity, ...chromium.complaints.filter((line) => !line.includes('404')));
  });

  test('what is said while the node is away has its icon', async () => {
    const alone = await startNode();
    const status = await chromium.open(`${alone.url}/status`);
    const recorder = await chromium.open(`${alone.url}/recorder`);
    await recorder.waitForSelector('[data-restored]');
    await recorder.click('[data-source=camera]');
    await recorder.waitForSelector('[data-source=camera][aria-pressed=true]');
    await recorder.click('.studio-form button[type=submit]');
    await recorder.locator('.delivery', { hasText: 'Everything so far is safe' }).waitFor();
    await alone.kill();
    await status.locator('[data-part=problem]').waitFor();
    assert.equal(await hasShape(status, '[data-part=problem]'), true);
    await recorder.locator('.delivery', { hasText: 'The server does not answer' }).waitFor();
    assert.equal(await hasShape(recorder, '.delivery-words'), true);
    await alone.stop();
    // Both ask for as long as they are open, and of each that nobody answers the browser itself complains.
    for (const page of [status, recorder]) await page.context().close();
    chromium.complaints.splice(0);
  });
});
