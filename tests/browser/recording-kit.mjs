/**
 * What the tests of the pages that record share: a page with a node whose recording side follows a script, and what people
 * press and see there.
 */
import { until } from './harness.mjs';
import { RecordingNode } from './page-recordings.mjs';
import { chromium, node } from './pages-kit.mjs';

/** @typedef {import('playwright-core').Page} Page */

export const START = '.studio-form button[type=submit]';
export const READY = '#result[data-state=ready]';

/** @param {Page} page @param {string} source @param {boolean} [on] */
export async function turn(page, source, on = true) {
  const pressed = (/** @type {boolean} */ state) => `[data-source=${source}][aria-pressed=${state}]`;
  await page.waitForSelector('[data-restored]');
  if (await page.locator(pressed(!on)).count()) await page.click(pressed(!on));
  await page.waitForSelector(pressed(on));
}

/** @param {Page} page @param {'recorded' | 'stored' | 'sent' | 'acked'} stage @param {number} count */
export async function counted(page, stage, count) {
  await until(async () => Number(await page.innerText(`[data-count=${stage}] b`)) >= count, { what: `${count} pieces ${stage}` });
}

/** @param {Page} page @returns {Promise<boolean>} whether the player has a picture and can go to its end */
export function plays(page, selector = 'video') {
  return page.evaluate(async (wanted) => {
    const video = document.querySelector(wanted);
    if (!(video instanceof HTMLVideoElement)) return false;
    if (video.readyState < 2) await new Promise((resolve) => video.addEventListener('loadeddata', resolve, { once: true }));
    return video.videoWidth > 0;
  }, selector);
}

/** @param {string} path @param {import('playwright-core').BrowserContextOptions} [options] */
export async function visit(path, options = {}) {
  const recorder = new RecordingNode();
  const page = await chromium.open(undefined, options);
  await recorder.attach(page);
  await page.goto(node.url + path);
  return { page, recorder };
}
