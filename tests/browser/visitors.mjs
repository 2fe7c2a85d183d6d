/**
 * What the people in the browser tests do on the pages: come in, look around, talk, leave.
 */
import { until } from './harness.mjs';

/** @typedef {import('playwright-core').Page} Page */

/** For windows that nobody looks at: drawing them costs the machine that runs the tests. */
export const SMALL_WINDOW = { width: 480, height: 360 };
/** How long anything may take: two slow cores carry every browser of a call, and perhaps other work. */
const PATIENCE_MS = 60_000;

/**
 * Opens a room as from an invite link, types a name and joins.
 * @param {Page} page
 * @param {string} url
 * @param {string} name
 * @param {{ stay?: boolean, muted?: boolean }} [options] `stay: false` where the node will refuse; `muted` spares the
 *   machine the sound of many fake microphones, which all beep at once
 */
export async function enterRoom(page, url, name, { stay = true, muted = false } = {}) {
  await page.goto(url);
  await join(page, name, { stay, muted });
}

/**
 * Joins from the prejoin page that is open already.
 * @param {Page} page
 * @param {string} name
 * @param {{ stay?: boolean, muted?: boolean }} [options] as for `enterRoom`
 */
export async function join(page, name, { stay = true, muted = false } = {}) {
  await page.fill('#your-name', name);
  if (muted) await page.click('[data-toggle=audio][aria-pressed=true]');
  await page.press('#your-name', 'Enter');
  if (stay) await inCall(page);
}

/**
 * Waits until the call is on screen.
 * @param {Page} page
 */
export async function inCall(page) {
  await page.waitForSelector('#call:not([hidden])');
}

/**
 * Waits until another screen says what happened instead of a call.
 * @param {Page} page
 * @param {string} name as `data-notice` has it
 */
export async function noticed(page, name) {
  await page.waitForSelector(`#notice:not([hidden])[data-notice=${name}]`);
}

/**
 * Waits until so many others are seen in pictures and nobody is away.
 * @param {Page} page
 * @param {number} count
 * @param {number} [timeoutMs]
 */
export async function othersSeen(page, count, timeoutMs = PATIENCE_MS) {
  await until(
    () => page.evaluate((wanted) => {
      const tiles = [...document.querySelectorAll('.tile[data-kind=person]')].slice(1);
      return tiles.length === wanted && tiles.every((tile) => tile.hasAttribute('data-picture') && !tile.hasAttribute('data-away'));
    }, count),
    { what: `${count} others seen in ${page.url()}`, timeoutMs },
  );
}

/**
 * What arrives from the only other participant.
 * @param {Page} page
 * @returns {Promise<{ frames: number, audioBytes: number }>}
 */
export function received(page) {
  return page.evaluate(async () => {
    const [other] = [...(window.greenroomCall?.participants.values() ?? [])];
    const sum = { frames: 0, audioBytes: 0 };
    for (const report of (await other?.peer.pc?.getStats())?.values() ?? []) {
      if (report.type !== 'inbound-rtp') continue;
      if (report.kind === 'video') sum.frames += report.framesDecoded ?? 0;
      else sum.audioBytes += report.bytesReceived ?? 0;
    }
    return sum;
  });
}

/**
 * Waits until picture and sound of the only other participant go on, and the drawn picture moves.
 * @param {Page} page
 */
export async function moving(page) {
  await othersSeen(page, 1);
  const [before, drawnBefore] = [await received(page), await drawn(page)];
  await until(async () => (await received(page)).frames > before.frames + 5, { what: 'more frames decoded', timeoutMs: PATIENCE_MS });
  await until(async () => (await received(page)).audioBytes > before.audioBytes + 1000, { what: 'more sound received', timeoutMs: PATIENCE_MS });
  await until(async () => (await drawn(page)) !== drawnBefore, { what: 'another picture drawn', timeoutMs: PATIENCE_MS });
}

/**
 * What the tile of the other participant shows now.
 * @param {Page} page
 * @returns {Promise<string>} equal for equal pictures
 */
function drawn(page) {
  return page.evaluate(() => {
    const video = document.querySelectorAll('.tile[data-kind=person] video')[1];
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [64, 48];
    const context = canvas.getContext('2d');
    if (!(video instanceof HTMLVideoElement) || !context) throw new Error('no picture');
    context.drawImage(video, 0, 0, 64, 48);
    return context.getImageData(0, 0, 64, 48).data.join();
  });
}

/**
 * Writes into the chat, and sees it there.
 * @param {Page} page
 * @param {string} text
 */
export async function say(page, text) {
  if (await page.locator('#chat').isHidden()) await page.click('button[data-panel=chat]');
  await page.fill('#chat-field', text);
  await page.press('#chat-field', 'Enter');
  await page.locator('.chat-line:not([data-pending]) .chat-text', { hasText: text }).waitFor();
}

/**
 * Ends visits.
 * @param {Page[]} pages
 */
export async function disperse(...pages) {
  await Promise.all(pages.map((page) => page.context().close()));
}
