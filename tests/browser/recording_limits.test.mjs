/**
 * The pages that record where the server sets an end: what was recorded until then is saved, and people are told so.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './harness.mjs';
import { RecordingNode } from './page-recordings.mjs';
import { chromium, describePages, node } from './pages-kit.mjs';
import { READY, START, counted, plays, turn, visit } from './recording-kit.mjs';
import { enterRoom } from './visitors.mjs';

/** @param {import('playwright-core').Page} page that pauses */
async function allSafe(page) {
  const count = async (/** @type {string} */ stage) => Number(await page.innerText(`[data-count=${stage}] b`));
  let before = -1;
  await until(async () => {
    const [recorded, acked] = [await count('recorded'), await count('acked')];
    const still = recorded === acked && recorded === before;
    before = recorded;
    return still;
  }, { what: 'every piece acked, and no other to come', everyMs: 1500 });
}

describePages('pages that record, at the end of what the server allows', 300_000, () => {
  test('at the limit of the server a recording ends by itself, is saved, and the page says so', async () => {
    const { page, recorder } = await visit('/recorder');
    Object.assign(recorder, { refusal: 'recording_too_large', refusedFrom: 3 });
    await turn(page, 'camera');
    await page.click(START);
    await page.waitForSelector(READY);
    await page.locator('#result', { hasText: 'Your recording is ready. The recording is as large as the server allows' }).waitFor();
    assert.deepEqual(recorder.stops.map(({ chunks }) => chunks), [3]);
    assert.equal(await plays(page, '#result video'), true);
    Object.assign(recorder, { refusal: null });
    await page.click('text=Record again');
    await turn(page, 'camera');
    await page.click(START);
    await until(() => recorder.chunks.get('rec-2')?.size, { what: 'a piece of the next' });
    await page.click('[data-act=stop]');
    await page.waitForSelector(READY);
    assert.equal(await page.innerText('#result [data-part=text]'), 'Your recording is ready.', 'of this one nothing is left to say');
  });

  test('a pause beyond the longest time ends the recording, and the page says that it is saved', async () => {
    const { page, recorder } = await visit('/recorder');
    recorder.longestMs = 1;
    await turn(page, 'camera');
    await page.click(START);
    await counted(page, 'acked', 2);
    await page.click('[data-act=pause]');
    await allSafe(page);
    recorder.finish('rec-1');
    await page.waitForSelector(READY);
    await page.locator('#result', { hasText: 'Your recording is ready. The recording is as long as the server allows' }).waitFor();
    assert.equal(await plays(page, '#result video'), true);
    assert.deepEqual(recorder.stops, []);
  });

  test('a recording that ended while the page was not connected is saved too, and the page says where', async () => {
    const { page, recorder } = await visit('/recorder');
    await turn(page, 'camera');
    await page.click(START);
    await counted(page, 'acked', 2);
    await page.click('[data-act=pause]');
    await allSafe(page);
    recorder.startRefusal = 'recording_over';
    recorder.cut();
    await page.locator('#result[data-state=saved]', { hasText: 'Your recording is saved' }).waitFor();
    assert.match(String(await page.getAttribute('#result a', 'href')), /\/library\?recording=rec-1$/);
  });

  test('at the limit of the server the recording of a call ends, is told, and the call goes on', async () => {
    const ada = await chromium.open();
    const recorder = new RecordingNode();
    Object.assign(recorder, { refusal: 'recording_too_long', refusedFrom: 2 });
    await recorder.attach(ada);
    await enterRoom(ada, `${node.url}/room/limited`, 'Ada');
    await ada.click('.bar [data-act=record]');
    await ada.click('#confirm [value=yes]');
    await ada.locator('.toast', { hasText: 'as long as the server allows' }).waitFor();
    await ada.locator('.toast', { hasText: 'The recording is in the library.' }).waitFor();
    await ada.locator('.bar [data-act=record]:not([aria-label="Stop recording"])').waitFor();
    assert.deepEqual(recorder.stops.map(({ chunks }) => chunks), [2]);
  });
});
