/**
 * Recordings over three nodes behind nginx, as `scripts/cluster` starts them. A node dies, Redis forgets everything, the page is
 * reloaded: whoever records sees a note at most, and the video has all of it. Pages are asked of whichever node is next.
 */
import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { clusterSkipReason, startCluster } from './cluster-kit.mjs';
import { startBrowser, until } from './harness.mjs';
import { READY, RESULT_MS, START, assertVideo, safe, turnOn } from './video-kit.mjs';
import { SMALL_WINDOW, disperse, enterRoom, inCall, othersSeen } from './visitors.mjs';

/** @typedef {import('playwright-core').Page} Page */

/** Between what the page's clock says and what is in the video. Unit: seconds. */
const CLOCK_OFF_S = 2;
/** What the page says while its node is gone, and nothing more. */
const NOTE = /^The server does not answer\. (What was recorded so far is safe there|1 piece is kept in this browser|\d+ pieces are kept in this browser)\. Trying again by itself\.$/;
const SAFE = /safe on the server/;

describe('recordings in a cluster', { skip: clusterSkipReason(), timeout: 900_000 }, () => {
  /** @typedef {Awaited<ReturnType<typeof startCluster>>} Cluster */
  /** @type {Cluster} */ let cluster;
  /** @type {Awaited<ReturnType<typeof startBrowser>>} */ let chromium;
  /** @type {string} */ let folder;
  /** @type {string} */ let gate;
  before(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'greenroom-story-'));
    // Where somebody asks for it, ffmpeg waits.
    gate = path.join(folder, 'closed');
    const ffmpeg = path.join(folder, 'ffmpeg');
    await writeFile(ffmpeg, `#!/bin/sh\nif [ "$1" != -version ]; then while [ -e ${gate} ]; do sleep 0.1; done; fi\nexec ffmpeg "$@"\n`);
    await chmod(ffmpeg, 0o755);
    cluster = await startCluster({ env: { FFMPEG: ffmpeg } });
    chromium = await startBrowser();
  });
  after(async () => {
    await chromium?.stop();
    await cluster?.stop();
    await rm(folder, { recursive: true, force: true });
  });
  afterEach(async () => {
    await Promise.all(chromium.browser.contexts().map((context) => context.close()));
    // What is killed here makes the browser itself write of lost connections.
    const complaints = chromium.complaints.splice(0);
    assert.deepEqual(complaints.filter((line) => !/WebSocket|ERR_CONNECTION|Failed to load resource/.test(line)), []);
  });

  /** The list of recordings as one node, or nginx, has it. @param {string} [url] @returns {Promise<any[]>} */
  const listed = async (url = cluster.url) => (await (await fetch(`${url}/recordings`)).json()).recordings;

  /** The nodes of which this metric is not 0. @param {string} series */
  const nodesWith = async (series) => {
    const found = [];
    for (const node of cluster.nodes()) {
      const text = await (await fetch(`${cluster.urlOf(node)}/metrics`)).text();
      if (text.split('\n').some((line) => line.startsWith(`${series} `) && Number(line.slice(series.length)) > 0)) found.push(node);
    }
    return found;
  };
  /** Those that have a recorder's socket. */
  const recording = () => nodesWith('greenroom_sockets{kind="recorder"}');

  /** Records screen and microphone on the recorder page. @param {string} title @param {string} [query] */
  const begin = async (title, query = '') => {
    const page = await chromium.open(`${cluster.url}/recorder${query}`);
    page.on('dialog', (dialog) => void dialog.accept());
    await turnOn(page, 'microphone');
    await turnOn(page, 'screen');
    await page.fill('#title', title);
    await page.click(START);
    await safe(page, 3);
    return page;
  };

  /** Notes all that this page says of its connection, and every toast. @param {Page} page */
  const witness = (page) => page.evaluate(() => {
    const said = (window.said = /** @type {{ connection: string[], toasts: string[] }} */ ({ connection: [], toasts: [] }));
    const words = document.querySelector('[data-part=connection]');
    const toasts = document.querySelector('#toasts');
    new MutationObserver(() => said.connection.push(words?.textContent ?? '')).observe(/** @type {Node} */ (words), { childList: true, characterData: true, subtree: true });
    new MutationObserver(() => said.toasts.push(toasts?.textContent ?? '')).observe(/** @type {Node} */ (toasts), { childList: true, subtree: true });
  });

  /** @param {Page} page @param {'recorded' | 'stored' | 'acked'} stage */
  const count = async (page, stage) => Number(await page.innerText(`[data-count=${stage}] b`));

  /** Presses Stop. @param {Page} page @returns {Promise<number>} how long it recorded, in seconds */
  const stop = async (page) => {
    const [minutes = 0, seconds = 0] = (await page.innerText('[data-part=time]')).split(':').map(Number);
    await page.click('[data-act=stop]');
    return 60 * minutes + seconds;
  };

  /** Waits for the video, and looks at it. @param {Page} page @param {number} recorded seconds */
  const watch = async (page, recorded) => {
    await page.waitForSelector(READY, { timeout: RESULT_MS });
    const title = await page.innerText('#result-title');
    const row = await until(async () => (await listed()).find((one) => one.title === title && one.state === 'ready'), { what: 'it is in the library' });
    const duration = await assertVideo(row, { url: cluster.url, page, folder });
    assert.ok(Math.abs(duration - recorded) < CLOCK_OFF_S, `${duration} s of video, and ${recorded} on the page`);
    return row;
  };

  test('its node is killed: a note, and it goes on at another one by itself', async () => {
    const page = await begin('Killed in the middle');
    const [node = '', ...more] = await recording();
    assert.deepEqual(more, []);
    await witness(page);
    cluster.kill(node);
    const [now] = await until(async () => { const found = await recording(); return found.length > 0 && found; }, { what: 'another node has it' });
    assert.notEqual(now, node);
    const at = await count(page, 'recorded');
    await safe(page, at + 3);
    const { connection, toasts } = await page.evaluate(() => window.said);
    assert.ok(connection.some((/** @type {string} */ words) => NOTE.test(words)), connection.join('\n'));
    assert.deepEqual(connection.filter((/** @type {string} */ words) => !NOTE.test(words) && !SAFE.test(words)), []);
    assert.deepEqual(toasts, [], 'nothing else was said');
    assert.match(await page.innerText('[data-part=connection]'), SAFE);
    const row = await watch(page, await stop(page));
    assert.deepEqual(row.work.map((/** @type {any} */ { segment, did }) => [segment, did]), [[0, 'copied']], 'one segment: the recorder never stopped');
    for (const one of cluster.nodes()) assert.ok((await listed(cluster.urlOf(one))).some(({ recordId }) => recordId === row.recordId), `${one} lists it`);
    await cluster.revive(node);
  });

  test('the node that makes its video is killed: another one makes it', async () => {
    const page = await begin('Killed at the end');
    await writeFile(gate, '');
    const recorded = await stop(page);
    const [node = ''] = await until(async () => { const found = await nodesWith('greenroom_merges_running'); return found.length > 0 && found; }, { what: 'the merge' });
    cluster.kill(node);
    await rm(gate);
    await watch(page, recorded);
    await cluster.revive(node);
  });

  test('a reload, and its node is dead: the same recording goes on', async () => {
    const page = await begin('Reloaded');
    const [node = ''] = await recording();
    cluster.kill(node);
    await page.reload();
    await page.locator('.leftover', { hasText: '“Reloaded” is kept' }).waitFor();
    await page.click('text=Go on recording');
    await page.waitForSelector('body[data-screen=recording]');
    const at = await count(page, 'recorded');
    await safe(page, at + 3);
    const row = await watch(page, await stop(page));
    assert.deepEqual(row.work.map((/** @type {any} */ { segment, did }) => [segment, did]), [[0, 'copied'], [1, 'copied']]);
    assert.equal((await listed()).filter(({ title }) => title === 'Reloaded').length, 1, 'one recording');
    await cluster.revive(node);
  });

  test('Redis is killed and comes back empty: a note at most', async () => {
    const page = await begin('Forgotten by Redis');
    await witness(page);
    cluster.kill('redis');
    const from = await count(page, 'recorded');
    await until(async () => (await count(page, 'stored')) > from + 2, { what: 'it records without Redis' });
    await cluster.revive('redis');
    const at = await count(page, 'recorded');
    await safe(page, at + 3);
    const { toasts } = await page.evaluate(() => window.said);
    assert.ok(toasts.length <= 1, toasts.join('\n'));
    await watch(page, await stop(page));
  });

  test('everybody in the room sees that it is recorded, at whichever node they are, and that it ended', async () => {
    const people = [];
    /** @type {Set<string>} */
    const nodes = new Set();
    for (const name of ['Ada', 'Bob']) {
      const page = await chromium.open(undefined, { viewport: SMALL_WINDOW });
      page.setDefaultTimeout(RESULT_MS);
      await enterRoom(page, `${cluster.url}/room/seen?video=small`, name, { muted: true });
      people.push(page);
      await until(async () => {
        const id = await page.evaluate(() => window.greenroomCall?.me?.userId);
        const { rooms } = await cluster.picture();
        const here = rooms.find((/** @type {any} */ one) => one.room_name === 'seen')?.participants ?? [];
        const node = here.find((/** @type {any} */ one) => one.user_id === id && one.state === 'present')?.node_id;
        if (node && !nodes.has(node)) return nodes.add(node);
        if (node) await page.reload().then(() => inCall(page));
        return false;
      }, { what: `${name} at a node of their own`, timeoutMs: RESULT_MS });
    }
    const [ada, bob] = /** @type {[Page, Page]} */ (people);
    for (const page of people) await othersSeen(page, 1);

    // Somebody in the call records it.
    await ada.evaluate(() => /** @type {HTMLElement} */ (document.querySelector('[data-act=record]')).click());
    await ada.click('#confirm [value=yes]');
    await bob.locator('.toast', { hasText: 'Ada is recording this call.' }).waitFor();
    await bob.locator('[data-badge=recording]').waitFor();
    await until(async () => (await listed()).find(({ roomName }) => roomName === 'seen')?.chunks >= 3, { what: 'three pieces of the call', timeoutMs: RESULT_MS });
    await ada.evaluate(() => /** @type {HTMLElement} */ (document.querySelector('[data-act=record]')).click());
    await bob.locator('.toast', { hasText: 'Nobody records this call any more.' }).waitFor();
    await bob.locator('[data-badge=recording]').waitFor({ state: 'hidden' });
    await until(async () => (await listed()).find(({ roomName }) => roomName === 'seen')?.state === 'ready', { what: 'the call in the library', timeoutMs: RESULT_MS });

    // Somebody records beside it, for this room.
    const page = await begin('Beside the call', '?room=seen');
    for (const person of people) await person.locator('[data-badge=recording]').waitFor();
    const [node = ''] = await recording();
    cluster.kill(node, 'SIGTERM');
    await until(async () => { const [now] = await recording(); return now && now !== node; }, { what: 'another node has it', timeoutMs: RESULT_MS });
    const at = await count(page, 'recorded');
    await safe(page, at + 2);
    for (const person of people) assert.equal(await person.locator('[data-badge=recording]').isVisible(), true, 'it is still recorded');
    await watch(page, await stop(page));
    for (const person of people) await person.locator('[data-badge=recording]').waitFor({ state: 'hidden' });
    await cluster.revive(node);
    await disperse(...people);
  });

  test('the library lists, plays and deletes, whichever nodes are asked', async () => {
    const page = await chromium.open(`${cluster.url}/library`);
    const made = await listed();
    assert.ok(made.length >= 5, `${made.length} recordings of the tests before`);
    for (const { recordId } of made) await page.locator(`.rec[data-id="${recordId}"]`).waitFor();
    const [last] = made;
    await page.click(`[data-id="${last.recordId}"] .rec-title a`);
    await until(() => page.evaluate(() => {
      const video = document.querySelector('#watch video');
      return video instanceof HTMLVideoElement && video.readyState >= 2 && video.videoWidth > 0;
    }), { what: 'it plays' });
    await page.click('#watch button:has-text("Delete")');
    await page.click('#confirm [value=yes]');
    await page.locator('.toast', { hasText: `“${last.title}” was deleted.` }).waitFor();
    await page.locator(`.rec[data-id="${last.recordId}"]`).waitFor({ state: 'detached' });
    for (const node of cluster.nodes()) {
      assert.deepEqual((await listed(cluster.urlOf(node))).map(({ recordId }) => recordId), made.slice(1).map(({ recordId }) => recordId), node);
      assert.equal((await fetch(cluster.urlOf(node) + last.downloadUrl)).status, 404, `${node} has no video of it`);
    }
  });
});
