/**
 * Recording from end to end: real pages, a real node, real ffmpeg. Whatever is cut, reloaded or killed on the way, one
 * file comes out that is whole, plays and seeks, and holds everything that was acknowledged.
 */
import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { skipReason, startBrowser, startNode, startWire, until } from './harness.mjs';
import { READY, RESULT_MS, START, assertVideo, safe, turnOn } from './video-kit.mjs';
import { enterRoom, noticed, othersSeen } from './visitors.mjs';

/** @typedef {import('playwright-core').Page} Page */

/** @param {string} url */
async function json(url) {
  const answer = await fetch(url);
  assert.equal(answer.status, 200, url);
  return /** @type {any} */ (await answer.json());
}

/** @param {string} url @returns {Promise<any>} the one recording of this node */
async function onlyRecording(url) {
  const { recordings } = await json(`${url}/recordings`);
  assert.equal(recordings.length, 1);
  return recordings[0];
}

/** @param {string} url @param {string} series */
async function metric(url, series) {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return Number(line?.split(' ')[1] ?? 0);
}

describe('a recording from end to end', { skip: skipReason(), timeout: 600_000 }, () => {
  /** @type {Awaited<ReturnType<typeof startBrowser>>} */ let chromium;
  /** @type {string} */ let folder;
  /** @type {(() => Promise<unknown>)[]} */ let ends = [];

  before(async () => { chromium = await startBrowser(); });
  after(async () => { await chromium?.stop(); });
  afterEach(async () => {
    await Promise.all(chromium.browser.contexts().map((context) => context.close()));
    for (const end of ends.splice(0).reverse()) await end();
    // What is cut and killed here makes the browser itself write of lost connections.
    const complaints = chromium.complaints.splice(0);
    assert.deepEqual(complaints.filter((line) => !/WebSocket|ERR_CONNECTION|Failed to load resource/.test(line)), []);
  });

  /** @param {Record<string, string>} [env] */
  const node = async (env = {}) => {
    const started = await startNode({ env: { STORAGE_LOCAL_PATH: path.join(folder, 'recordings'), ...env } });
    ends.push(() => started.stop());
    return started;
  };
  const scratch = async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'greenroom-story-'));
    ends.push(() => rm(folder, { recursive: true, force: true }));
  };
  /** @param {string} url @param {Page} page @param {number} atLeast seconds */
  const whole = async (url, page, atLeast) => {
    const row = await onlyRecording(url);
    const duration = await assertVideo(row, { url, page, folder });
    assert.ok(duration > atLeast, `${duration} s of at least ${atLeast}`);
    return row;
  };

  test('half a minute of screen and microphone, the network cut once, the page reloaded once', async () => {
    await scratch();
    const { url, port } = await node();
    const wire = await startWire(port);
    ends.push(() => wire.stop());
    const page = await chromium.open(`${wire.url}/recorder`);
    page.on('dialog', (dialog) => void dialog.accept());
    await turnOn(page, 'microphone');
    await turnOn(page, 'screen');
    await page.fill('#title', 'Cut and reloaded');
    const began = Date.now();
    const recorded = (/** @type {number} */ seconds) => until(() => Date.now() - began > seconds * 1000, {
      what: `${seconds} s of recording`, timeoutMs: 60_000,
    });
    await page.click(START);
    await safe(page, 5);

    wire.down();
    await page.locator('[data-part=connection]', { hasText: /does not answer/ }).waitFor();
    const stored = Number(await page.innerText('[data-count=stored] b'));
    await until(async () => Number(await page.innerText('[data-count=stored] b')) > stored + 2, { what: 'it records without a network' });
    wire.up();
    await safe(page, stored + 3);

    await recorded(16);
    await page.reload();
    await page.click('text=Go on recording');
    await recorded(32);
    await page.click('[data-act=stop]');
    await page.waitForSelector(READY, { timeout: RESULT_MS });
    const row = await whole(url, page, 26);
    assert.equal(row.title, 'Cut and reloaded');
    const segments = new Set(row.work.map((/** @type {any} */ work) => work.segment));
    assert.equal(segments.size, 2, 'a reload begins a segment');
    assert.ok(row.work.every((/** @type {any} */ work) => work.did === 'copied'), JSON.stringify(row.work));
    assert.equal(await metric(url, 'greenroom_chunks_total{result="acked",way="socket"}'), row.chunks, 'each is stored once');
  });

  test('a tab that died without a network is made up for by the next visit, when the video was there already', async () => {
    await scratch();
    const { url, port } = await node({ RECORDING_GRACE_SECS: '1' });
    const wire = await startWire(port);
    ends.push(() => wire.stop());
    const page = await chromium.open(`${wire.url}/recorder`);
    await turnOn(page, 'microphone');
    await turnOn(page, 'screen');
    await page.fill('#title', 'Came late');
    await page.click(START);
    await safe(page, 3);
    wire.down();
    const stored = Number(await page.innerText('[data-count=stored] b'));
    await until(async () => Number(await page.innerText('[data-count=stored] b')) >= stored + 5, { what: 'it records without a network' });
    await page.close();
    const first = await until(async () => {
      const row = await onlyRecording(url);
      return row.state === 'ready' && row;
    }, { what: 'the video of what had come', timeoutMs: RESULT_MS });
    wire.up();
    const next = await page.context().newPage();
    await next.goto(`${wire.url}/recorder`);
    await next.locator('.toast', { hasText: '“Came late” is in the library.' }).waitFor({ timeout: RESULT_MS });
    const row = await whole(url, next, first.durationMs / 1000 + 3);
    assert.deepEqual([row.recordId, row.version, row.complete], [first.recordId, 2, true]);
    await until(async () => (await fetch(url + first.downloadUrl)).status === 404, { what: 'the first version gives way' });
  });

  test('who opens it in the library watches it while it is recorded, from its beginning on, and then the video', async () => {
    await scratch();
    const { url } = await node();
    const page = await chromium.open(`${url}/recorder`);
    page.on('dialog', (dialog) => void dialog.accept());
    await turnOn(page, 'microphone');
    await turnOn(page, 'screen');
    await page.click(START);
    await safe(page, 4);
    const { recordId } = await onlyRecording(url);
    // One browser can be fed with what comes; to another one it is given as files.
    const viewers = await Promise.all([true, false].map(async (feeds) => {
      const viewer = await chromium.open();
      if (!feeds) await viewer.addInitScript('delete window.MediaSource');
      await viewer.goto(`${url}/library?recording=${recordId}`);
      return viewer;
    }));
    for (const viewer of viewers) await viewer.waitForSelector('#watch .live-line');
    for (const viewer of viewers) {
      const now = () => viewer.evaluate(() => document.querySelector('#watch video')?.currentTime ?? 0);
      const shown = await now();
      await until(async () => (await now()) > shown + 6, { what: 'it goes on, further than there was when it was opened', timeoutMs: 40_000 });
      // Its beginning is there, also where only what is newest was fetched.
      const picture = await viewer.evaluate(async () => {
        const video = document.querySelector('#watch video');
        if (!(video instanceof HTMLVideoElement)) throw new Error('no video');
        video.currentTime = 0;
        await new Promise((resolve) => video.requestVideoFrameCallback((_, { mediaTime }) => resolve(mediaTime)));
        return { at: video.currentTime, width: video.videoWidth, length: video.duration, failed: video.error?.message };
      });
      assert.ok(picture.at < 3 && picture.width > 0 && picture.length > 8 && !picture.failed, JSON.stringify(picture));
      await viewer.click('text=Go to the newest');
      await until(async () => (await now()) > 6, { what: 'the newest' });
    }
    await page.click('[data-act=stop]');
    await page.waitForSelector(READY, { timeout: RESULT_MS });
    const row = await whole(url, page, 10);
    for (const viewer of viewers) {
      await viewer.waitForSelector('#watch a[download]');
      const there = await viewer.evaluate(() => {
        const video = document.querySelector('#watch video');
        return video instanceof HTMLVideoElement ? { from: video.getAttribute('src'), at: video.currentTime } : null;
      });
      assert.ok(there && there.from === row.downloadUrl && there.at > 6, JSON.stringify(there));
    }
  });

  test('the node is killed while it records, and again while it merges', async () => {
    await scratch();
    const slow = path.join(folder, 'slow-ffmpeg');
    await writeFile(slow, '#!/bin/sh\n[ "$1" = -version ] || sleep 3\nexec ffmpeg "$@"\n');
    await chmod(slow, 0o755);
    const first = await node({ FFMPEG: slow });
    const page = await chromium.open(`${first.url}/recorder`);
    await turnOn(page, 'microphone');
    await turnOn(page, 'screen');
    await page.click(START);
    await safe(page, 4);
    await first.kill('SIGKILL');
    const stored = Number(await page.innerText('[data-count=stored] b'));
    await until(async () => Number(await page.innerText('[data-count=stored] b')) > stored + 1, { what: 'it records without a node' });

    const second = await node({ FFMPEG: slow, PORT: String(first.port) });
    await safe(page, stored + 2);
    await page.click('[data-act=stop]');
    await until(async () => (await onlyRecording(second.url)).state === 'finalising', { what: 'the merge', timeoutMs: RESULT_MS });
    await second.kill('SIGKILL');

    const third = await node({ PORT: String(first.port) });
    await page.waitForSelector(READY, { timeout: RESULT_MS });
    await whole(third.url, page, 5);
  });

  test('somebody records a call: everyone sees it, and after leaving it is in the library', async () => {
    await scratch();
    const { url } = await node();
    const [ada, bob] = [await chromium.open(), await chromium.open()];
    await enterRoom(ada, `${url}/room/blue`, 'Ada');
    await enterRoom(bob, `${url}/room/blue`, 'Bob', { muted: true });
    await othersSeen(ada, 1);
    await ada.click('.bar [data-act=record]');
    await ada.click('#confirm [value=yes]');
    await bob.locator('.toast', { hasText: 'Ada is recording this call.' }).waitFor();
    await bob.locator('[data-badge=recording]').first().waitFor();
    await until(async () => (await onlyRecording(url)).chunks >= 5, { what: 'five pieces of the call', timeoutMs: RESULT_MS });
    await ada.click('.bar [data-act=leave]');
    await noticed(ada, 'left');
    await ada.locator('#after-recording[data-stage=ready]').waitFor({ timeout: RESULT_MS });
    await bob.locator('.toast', { hasText: 'Nobody records this call any more.' }).waitFor();

    const row = await whole(url, ada, 3);
    assert.equal(row.roomName, 'blue');
    await ada.goto(`${url}/library?recording=${row.recordId}`);
    await ada.waitForSelector('video');
    await until(() => ada.evaluate(() => (document.querySelector('video')?.readyState ?? 0) >= 2), { what: 'it plays in the library' });
  });
});
