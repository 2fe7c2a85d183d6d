/**
 * The recorder of the library, in a real browser with a real MediaRecorder, against a node that follows a script and
 * checks every frame that arrives. What must hold whatever happens on the way: the node gets the bytes that were
 * recorded, each once, in order and under their own numbers.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { CHROMIUM, startBrowser, until } from './harness.mjs';
import { startRecordingNode } from './recording-node.mjs';

const LIBRARY = '/static/js/index.js';
const EBML = '1a45dfa3';
const MIB = 1024 * 1024;

/** @typedef {import('playwright-core').Page} Page */

/** @type {Awaited<ReturnType<typeof startBrowser>>} */
let browser;
/** @type {Awaited<ReturnType<typeof startRecordingNode>>} */
let node;

/** Runs in every page before anything else: keeps what MediaRecorders gave, apart from the library. */
function watchRecorders() {
  window.blobs = []; // in order, over all segments
  window.recorders = [];
  window.MediaRecorder = class extends MediaRecorder {
    constructor(stream, options) {
      super(stream, options);
      window.recorders.push(this);
      window.recorderOptions = options;
      this.addEventListener('dataavailable', (event) => {
        if (event.isTrusted && window.firstBytes) {
          // As Chromium does at times: the first blob of a segment is tiny.
          const bytes = window.firstBytes;
          window.firstBytes = 0;
          event.stopImmediatePropagation();
          for (const data of [event.data.slice(0, bytes), event.data.slice(bytes)]) this.dispatchEvent(new BlobEvent('dataavailable', { data }));
        } else window.blobs.push(event.data);
      });
    }
  };
}

/** @param {{ script?: () => void, context?: import('playwright-core').BrowserContext, clock?: boolean }} [options] clock: to be moved by the test */
async function open({ script, context, clock = false } = {}) {
  const page = context ? await context.newPage() : await browser.open();
  if (clock) await page.clock.install();
  await page.addInitScript(watchRecorders);
  if (script) await page.addInitScript(script);
  await page.goto(node.url);
  return page;
}

/**
 * Begins to record: a canvas that moves and a tone, or a fake camera.
 * @param {Page} page
 * @param {object} [options] of `Recorder`; `goOn`: with what this window recorded before its reload
 */
function record(page, options = {}) {
  return page.evaluate(async ([own, { goOn, camera, library = own, ...rest }]) => {
    const { Recorder } = await import(library);
    window.canvasStream = (width = 320, height = 240) => {
      const canvas = Object.assign(document.createElement('canvas'), { width, height });
      const context = canvas.getContext('2d', { alpha: false });
      setInterval(() => {
        context.fillStyle = `hsl(${performance.now() % 360} 80% 50%)`;
        context.fillRect(0, 0, width, height);
        for (let at = 0; at < 50; at++) context.fillRect(Math.random() * width, Math.random() * height, 9, 9);
      }, 40);
      const audio = new AudioContext();
      const [tone, out] = [audio.createOscillator(), audio.createMediaStreamDestination()];
      tone.connect(out);
      tone.start();
      return new MediaStream([...canvas.captureStream(25).getTracks(), ...out.stream.getTracks()]);
    };
    const recorder = (window.recorder = new Recorder({ timesliceMs: 100, ...rest }));
    window.told = [];
    for (const type of ['state', 'counts', 'connection', 'started', 'progress', 'ready', 'error', 'ended-track', 'storage']) {
      recorder.addEventListener(type, ({ detail }) => window.told.push({ type, ...detail }));
    }
    window.stream = camera ? await navigator.mediaDevices.getUserMedia({ video: true, audio: true }) : window.canvasStream();
    const earlier = goOn ? await Recorder.continuable() : undefined;
    await recorder.start(window.stream, earlier ? { continue: earlier } : {});
    return earlier;
  }, /** @type {const} */ ([LIBRARY, options]));
}

/** @param {Page} page */
const stop = (page) => page.evaluate(() => window.recorder.stop().then((ready) => ready, ({ code }) => ({ code })));
/** @param {Page} page */
const counts = (page) => page.evaluate(() => window.recorder.counts);
/** @param {Page} page @param {string} type */
const told = (page, type) => page.evaluate((wanted) => window.told.filter((one) => one.type === wanted), type);
/** @param {Page} page @param {number} chunks */
const acked = (page, chunks) => until(async () => (await counts(page)).acked >= chunks, { what: `${chunks} chunks acked`, everyMs: 30 });
/** @param {Page} page @param {number} chunks */
const recorded = (page, chunks) => until(async () => (await counts(page)).recorded >= chunks, { what: `${chunks} chunks recorded`, everyMs: 30 });

/** The digest of everything that the MediaRecorders of a page gave. @param {Page} page */
const captured = (page) => page.evaluate(async () => {
  const all = await new Blob(window.blobs).arrayBuffer();
  const digest = [...new Uint8Array(await crypto.subtle.digest('SHA-256', all))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return { digest, bytes: all.byteLength };
});

/** @param {number} [from] @param {number} [to] */
function arrived(from = 0, to = Infinity) {
  const chunks = [...node.recording.chunks.values()].sort((a, b) => a.index - b.index).filter(({ index }) => index >= from && index < to);
  const bytes = Buffer.concat(chunks.map(({ payload }) => payload));
  return { digest: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length };
}

/**
 * The node has what was recorded, byte for byte, and was told so in numbers.
 * @param {Page} page
 * @param {{ segments?: number }} [options]
 */
async function assertWhole(page, { segments = 1 } = {}) {
  const { chunks, stops } = node.recording;
  const indices = [...chunks.keys()].sort((a, b) => a - b);
  assert.deepEqual(indices, indices.map((_, at) => at), 'indices run from 0 without a hole');
  assert.deepEqual(arrived(), await captured(page));
  const starts = [...chunks.values()].filter(({ start }) => start);
  assert.equal(starts.length, segments);
  for (const { payload } of starts) assert.equal(payload.toString('hex', 0, 4), EBML);
  assert.deepEqual([stops.at(-1).chunks, stops.at(-1).bytes], [chunks.size, arrived().bytes]);
}

/** On each socket first arrivals come in order. */
function assertInOrder() {
  const seen = new Set();
  let last = -1;
  for (const { index } of node.frames) {
    if (seen.has(index)) continue;
    seen.add(index);
    assert.ok(index > last, `chunk ${index} after ${last}`);
    last = index;
  }
}

/** What browser storage holds. @param {Page} page */
const kept = (page) => page.evaluate(async (library) => {
  const { ChunkStore } = await import(library);
  const store = await ChunkStore.open();
  const metas = await store.recordings();
  return Promise.all(metas.map(async (meta) => (await store.contents(meta)).pieces.map(({ index }) => index)));
}, LIBRARY);

const NO_BROWSER = !process.env.CI && !existsSync(CHROMIUM) && `not found: ${CHROMIUM}`;

describe('the recorder', { skip: NO_BROWSER, timeout: 300_000 }, () => {
  before(async () => { browser = await startBrowser(); });
  after(async () => { await browser?.stop(); });
  beforeEach(async () => { node = await startRecordingNode(); });
  afterEach(async () => {
    await node.stop();
    assert.deepEqual(node.complaints, []);
  });

  test('brings what was recorded to the node, and leaves nothing behind', async () => {
    const page = await open();
    await record(page, { room: 'lobby', title: 'Tuesday', owner: 'ann', camera: true });
    await acked(page, 5);
    const ready = await stop(page);
    assert.equal(ready.downloadUrl, '/recordings/download/rec-0.webm');
    await assertWhole(page);
    assertInOrder();
    const { type, framing, mimeType, roomName, title, owner, uploadToken } = node.starts[0];
    assert.deepEqual([type, framing, roomName, title, owner, uploadToken], ['start', 'indexed', 'lobby', 'Tuesday', 'ann', undefined]);
    assert.equal(mimeType, await page.evaluate(() => window.recorders[0].mimeType));
    assert.equal(await page.evaluate(() => window.recorderOptions.videoKeyFrameIntervalDuration), 2000);
    assert.deepEqual((await told(page, 'state')).map(({ state }) => state), ['recording', 'stopping', 'finalising', 'ready']);
    assert.deepEqual((await told(page, 'progress')).map(({ percent }) => percent), [50]);
    assert.deepEqual(await kept(page), []);
    const { recorded, stored, sent, acked: taken, waiting } = await counts(page);
    assert.deepEqual([recorded, stored, sent, taken, waiting], [taken, taken, taken, taken, 0]);
    assert.equal(new Set(node.frames.map(({ index }) => index)).size, node.frames.length, 'nothing was sent twice');
    const times = [...node.recording.chunks.values()].map(({ timecodeMs }) => timecodeMs);
    assert.deepEqual(times, [...times].sort((a, b) => a - b));
    await page.context().close();
  });

  test('keeps the order of bursts of mixed sizes, cuts what is too large, and leaves out what is empty', async () => {
    const page = await open();
    await record(page);
    await acked(page, 1);
    await page.evaluate((mib) => {
      const give = (/** @type {number} */ size) => {
        const bytes = new Uint8Array(size);
        for (let at = 0; at < size; at += 4099) bytes[at] = Math.random() * 256;
        window.recorders[0].dispatchEvent(new BlobEvent('dataavailable', { data: new Blob([bytes]) }));
      };
      for (const size of [4 * mib, 2048, 0, 9 * mib + 1, 1, 0, 3 * mib, 17, 4 * mib + 1]) give(size);
    }, MIB);
    await stop(page);
    await assertWhole(page);
    assertInOrder();
    const sizes = [...node.recording.chunks.values()].sort((a, b) => a.index - b.index).map(({ payload }) => payload.length);
    assert.ok(Math.max(...sizes) === 4 * MIB && Math.min(...sizes) > 0);
    const at = sizes.indexOf(4 * MIB);
    assert.deepEqual(sizes.slice(at, at + 10), [4 * MIB, 2048, 4 * MIB, 4 * MIB, MIB + 1, 1, 3 * MIB, 17, 4 * MIB, 1]);
    await page.context().close();
  });

  test('cuts to the size that the node names, and begins a segment once', async () => {
    node.script.limits = { maxChunkBytes: 500 };
    const page = await open();
    await record(page);
    await until(async () => (await told(page, 'started')).length, { what: 'the node' });
    await page.evaluate(() => window.recorder.replaceStream(window.canvasStream()));
    const from = (await counts(page)).recorded;
    await acked(page, from + 20);
    await stop(page);
    await assertWhole(page, { segments: 2 });
    const later = [...node.recording.chunks.values()].filter(({ index }) => index >= from);
    assert.ok(later.length >= 20 && later.every(({ payload }) => payload.length <= 500));
    await page.context().close();
  });

  test('begins a segment with enough bytes to know it by', async () => {
    const page = await open({ script: () => { window.firstBytes = 1; } });
    await record(page);
    await acked(page, 3);
    await stop(page);
    await assertWhole(page);
    assert.equal(await page.evaluate(() => window.blobs[0].size), 1);
    await page.context().close();
  });

  test('sends the same bytes again when an acknowledgement is lost', async () => {
    node.script.chunk = ({ index }) => (index === 2 && node.frames.filter((one) => one.index === 2).length < 2 ? 'silent' : undefined);
    const page = await open();
    await record(page);
    await until(() => node.frames.filter(({ index }) => index === 2).length === 2, { what: 'chunk 2 once more' });
    await stop(page);
    await assertWhole(page);
    const [first, second] = node.frames.filter(({ index }) => index === 2);
    assert.equal(first?.digest, second?.digest);
    assert.equal(node.connections.length, 1);
    await page.context().close();
  });

  test('has no more chunks unacknowledged than the node allows', async () => {
    node.script.limits = { maxInFlight: 3 };
    node.script.chunk = ({ index }, conn) => { setTimeout(() => conn.ack(index), 700); return 'silent'; };
    const page = await open();
    await record(page);
    await recorded(page, 9);
    await stop(page);
    await assertWhole(page);
    assert.equal(node.unansweredMax, 3);
    await page.context().close();
  });

  test('loses nothing and doubles nothing when sockets are cut in the middle', async () => {
    let cuts = 0;
    node.script.chunk = ({ index }, conn) => {
      if (index < 3 + cuts * 4 || cuts === 3) return undefined;
      cuts += 1;
      const [verdict] = /** @type {const} */ ([['silent', 'unstored'][cuts % 2]]);
      setTimeout(() => conn.cut());
      return /** @type {'silent' | 'unstored'} */ (verdict);
    };
    const page = await open();
    await record(page);
    await until(() => cuts === 3, { what: 'three cuts' });
    await acked(page, 14);
    await stop(page);
    await assertWhole(page);
    assertInOrder();
    assert.equal(node.connections.length, 4);
    assert.ok(node.starts.slice(1).every(({ uploadToken }) => uploadToken === 'token-rec-0'));
    assert.ok((await told(page, 'connection')).some(({ state, retryInMs }) => state === 'waiting' && retryInMs >= 0));
    await page.context().close();
  });

  test('records while no node answers, and sends it all when one does', async () => {
    node.script.start = (_, conn) => { if (node.connections.length < 3) conn.cut(); return node.connections.length < 3 ? 'silent' : undefined; };
    const page = await open();
    await record(page);
    await until(async () => (await told(page, 'started')).length, { what: 'the node' });
    await acked(page, 8);
    await stop(page);
    await assertWhole(page);
    await page.context().close();
  });

  test('stops again when the node has what it lacked, and not before', async () => {
    const lost = new Set();
    node.script.chunk = (chunk, conn) => {
      if (chunk.index < 4) return undefined;
      // Lost the first time, and the next time not stored at once.
      if (lost.has(chunk.index)) setTimeout(() => { conn.recording?.chunks.set(chunk.index, chunk); conn.ack(chunk.index); }, 150);
      lost.add(chunk.index);
      return 'unstored';
    };
    const page = await open();
    await record(page);
    await recorded(page, 6);
    assert.equal((await stop(page)).complete, true);
    await assertWhole(page);
    assert.equal(node.recording.stops.length, 2);
    await page.context().close();
  });

  test('sends a chunk again when the node says that it could not store it', async () => {
    let refusals = 0;
    node.script.chunk = ({ index }) => (index === 3 && refusals++ < 2 ? { code: 'storage_full', error: 'full', retryable: true, retryAfterMs: 200 } : undefined);
    const page = await open();
    await record(page);
    await acked(page, 6);
    await stop(page);
    await assertWhole(page);
    const errors = await told(page, 'error');
    assert.deepEqual(errors.map(({ code, index, fatal }) => [code, index, fatal]), [['storage_full', 3, false], ['storage_full', 3, false]]);
    await page.context().close();
  });

  test('names a chunk that the node refuses, and goes on with the others', async () => {
    node.script.chunk = ({ index }) => (index === 3 ? { code: 'conflict', error: 'other bytes', retryable: false } : undefined);
    node.script.stop = (_, conn) => [{ type: 'finished', recordId: 'rec-0', chunks: 1000 }, conn.ready()];
    const page = await open();
    await record(page);
    await acked(page, 8);
    await stop(page);
    assert.deepEqual((await told(page, 'error')).map(({ code, index, fatal }) => [code, index, fatal]), [['conflict', 3, false]]);
    assert.deepEqual(await kept(page), [[3]], 'it stays here');
    await page.context().close();
  });

  for (const code of ['not_media', 'recording_over']) {
    test(`ends at once on ${code}, and keeps what it has`, async () => {
      node.script.chunk = ({ index }) => (index === 2 ? { code, error: 'no', retryable: false } : undefined);
      const page = await open();
      await record(page);
      await until(() => page.evaluate(() => window.recorder.state === 'failed'), { what: 'the end' });
      assert.deepEqual((await told(page, 'error')).map((error) => [error.code, error.fatal]), [[code, true]]);
      await until(async () => page.evaluate(() => window.recorders[0].state === 'inactive'), { what: 'the recorder to stop' });
      await until(async () => (await kept(page))[0]?.includes(2), { what: 'the chunks' });
      assert.ok(!(await kept(page))[0]?.includes(0));
      await page.context().close();
    });
  }

  for (const [close, code] of /** @type {const} */ ([[4409, 'replaced'], [4401, 'unauthorised']])) {
    test(`stops sending after close ${close}`, async () => {
      node.script.chunk = ({ index }, conn) => { if (index === 3) conn.close(close); return index < 3 ? undefined : 'unstored'; };
      const page = await open();
      await record(page);
      await until(() => page.evaluate(() => window.recorder.state === 'failed'), { what: 'the end' });
      assert.deepEqual((await told(page, 'error')).map((error) => [error.code, error.fatal]), [[code, true]]);
      assert.equal(node.connections.length, 1);
      assert.ok((await kept(page))[0]?.includes(3));
      await page.context().close();
    });
  }

  test('does not send a chunk again that closed the socket by its size', async () => {
    node.script.chunk = ({ payload }, conn) => { if (payload.length < MIB) return undefined; conn.close(1009); return 'unstored'; };
    const page = await open();
    await record(page);
    await acked(page, 2);
    await page.evaluate((mib) => window.recorders[0].dispatchEvent(new BlobEvent('dataavailable', { data: new Blob([new Uint8Array(mib)]) })), MIB);
    const from = (await counts(page)).recorded;
    await acked(page, from + 4);
    assert.deepEqual((await told(page, 'error')).map(({ code }) => code), ['too_large']);
    assert.equal(node.frames.filter(({ payload }) => payload.length === MIB).length, 1);
    await page.context().close();
  });

  test('goes on with the same recording after a reload', async () => {
    // The node takes some, then seems to be gone: chunks wait here.
    node.script.chunk = ({ index }) => (index < 4 ? undefined : 'unstored');
    const page = await open();
    await record(page);
    await recorded(page, 10);
    await page.evaluate(() => window.recorder.flush());
    await until(async () => (await counts(page)).stored >= 10, { what: 'the chunks in storage' });
    await page.reload();
    delete node.script.chunk;
    const earlier = await record(page, { goOn: true });
    assert.ok(earlier.chunks >= 6 && earlier.recordId === 'rec-0', JSON.stringify(earlier));
    await acked(page, earlier.nextIndex + earlier.chunks + 3);
    await stop(page);
    assert.equal(node.starts.at(-1).uploadToken, 'token-rec-0');
    const { chunks, stops } = node.recording;
    const starts = [...chunks.values()].filter(({ start }) => start).map(({ index }) => index).sort((a, b) => a - b);
    assert.equal(starts.length, 2);
    const second = starts[1] ?? 0;
    assert.equal(second, Math.max(...[...chunks.keys()].filter((index) => index < second)) + 1, 'indices run on');
    assert.deepEqual(arrived(second), await captured(page));
    assert.deepEqual([stops.at(-1).chunks, stops.at(-1).bytes], [chunks.size, arrived().bytes]);
    const times = [...chunks.values()].filter(({ index }) => index >= second).map(({ timecodeMs }) => timecodeMs);
    assert.equal(times[0], 0);
    assert.deepEqual(await kept(page), []);
    await page.context().close();
  });

  test('knows where it was after a reload, even when nothing is left to send', async () => {
    const page = await open();
    await record(page);
    await acked(page, 4);
    await page.evaluate(() => { window.recorder.pause(); });
    await until(async () => (await counts(page)).waiting === 0, { what: 'everything acked' });
    await until(async () => (await kept(page))[0]?.length === 0, { what: 'empty storage' });
    const before = (await counts(page)).recorded;
    await page.reload();
    const earlier = await record(page, { goOn: true });
    assert.deepEqual([earlier.nextIndex, earlier.chunks], [before, 0]);
    await acked(page, before + 3);
    await stop(page);
    assert.deepEqual(arrived(before), await captured(page));
    assert.equal(node.recording.chunks.get(before)?.start, true);
    await page.context().close();
  });

  test('offers what a crashed tab left behind, and sends it', async () => {
    node.script.chunk = ({ index }) => (index < 3 ? undefined : 'unstored');
    const context = await browser.browser.newContext();
    const page = await open({ context });
    await record(page, { title: 'Tuesday', room: 'lobby' });
    const other = await open({ context });
    const list = () => other.evaluate(async (library) => (await import(library)).Leftovers.list(), LIBRARY);
    await until(async () => (await counts(page)).stored >= 9 && (await counts(page)).acked === 3, { what: 'chunks in storage' });
    assert.deepEqual(await list(), [], 'a tab that lives has no leftovers');
    await page.goto('chrome://crash').catch(() => {});
    const [left] = await until(async () => { const found = await list(); return found.length > 0 && found; }, { what: 'the leftovers' });
    assert.deepEqual([left.title, left.room, left.recordId, left.uploadToken], ['Tuesday', 'lobby', 'rec-0', 'token-rec-0']);
    assert.ok(left.chunks >= 6 && left.bytes > 0 && left.last >= left.startedAt);

    const saved = await other.evaluate(async ([library, entry]) => {
      const file = await (await import(library)).Leftovers.download(entry);
      const video = Object.assign(document.createElement('video'), { src: URL.createObjectURL(file), muted: true });
      document.body.append(video);
      await new Promise((resolve, reject) => { video.onloadeddata = resolve; video.onerror = () => reject(new Error(video.error?.message)); });
      return { width: video.videoWidth, type: file.type };
    }, /** @type {const} */ ([LIBRARY, left]));
    assert.equal(saved.width, 320, 'what is left plays as a file');

    delete node.script.chunk;
    const sent = await other.evaluate(async ([library, entry]) => {
      const progress = [];
      const ready = await (await import(library)).Leftovers.send(entry, { onprogress: (step) => progress.push(step) });
      return { ready, progress };
    }, /** @type {const} */ ([LIBRARY, left]));
    assert.equal(sent.ready.recordId, 'rec-0');
    assert.deepEqual(sent.progress.at(-1), { acked: left.chunks, chunks: left.chunks, percent: 50 });
    const { chunks, stops } = node.recording;
    assert.deepEqual([...chunks.keys()].sort((a, b) => a - b), Array.from({ length: chunks.size }, (_, index) => index));
    assert.deepEqual([stops.at(-1).chunks, stops.at(-1).bytes], [chunks.size, arrived().bytes]);
    assert.deepEqual(await list(), []);
    assert.deepEqual(await kept(other), []);
    await context.close();
  });

  test('sends what was recorded before a node ever answered, from a later visit', async () => {
    node.script.start = () => 'silent';
    const context = await browser.browser.newContext();
    const page = await open({ context });
    await record(page);
    await until(async () => (await counts(page)).stored >= 5, { what: 'chunks in storage' });
    const bytes = await page.evaluate(() => new Blob(window.blobs).arrayBuffer().then((all) => [...new Uint8Array(all.slice(0, 2000))]));
    await page.close({ runBeforeUnload: false });
    delete node.script.start;
    const other = await open({ context });
    const ready = await other.evaluate(async (library) => {
      const { Leftovers } = await import(library);
      for (;;) {
        const [entry] = await Leftovers.list();
        if (entry) return Leftovers.send(entry);
      }
    }, LIBRARY);
    assert.equal(ready.recordId, 'rec-0');
    const first = node.recording.chunks.get(0)?.payload ?? Buffer.alloc(0);
    const compared = Math.min(first.length, bytes.length);
    assert.deepEqual([...first.subarray(0, compared)], bytes.slice(0, compared));
    await context.close();
  });

  test('leaves out the chunk that a crash cut in half', async () => {
    node.script.chunk = () => 'unstored';
    const context = await browser.browser.newContext();
    const page = await open({ context });
    await record(page);
    await until(async () => (await counts(page)).stored >= 4, { what: 'chunks in storage' });
    await page.close();
    const other = await open({ context });
    delete node.script.chunk;
    const left = await other.evaluate(async (library) => {
      const { Leftovers } = await import(library);
      for (let entry; ; ) {
        [entry] = await Leftovers.list();
        if (!entry) continue;
        const root = await navigator.storage.getDirectory();
        const folder = await (await root.getDirectoryHandle('greenroom-recordings')).getDirectoryHandle(entry.key);
        for await (const [name, file] of folder) {
          if (!name.startsWith(`c-${entry.chunks - 1}-`)) continue;
          const writable = await file.createWritable({ keepExistingData: true });
          await writable.truncate(100);
          await writable.close();
        }
        await Leftovers.send(entry);
        return entry.chunks;
      }
    }, LIBRARY);
    assert.equal(node.recording.chunks.size, left - 1);
    assert.deepEqual([node.recording.stops.at(-1).chunks, node.recording.stops.at(-1).bytes], [left - 1, arrived().bytes]);
    await context.close();
  });

  test('throws leftovers away when asked to', async () => {
    node.script.chunk = () => 'unstored';
    const context = await browser.browser.newContext();
    const page = await open({ context });
    await record(page);
    await until(async () => (await counts(page)).stored >= 3, { what: 'chunks in storage' });
    await page.close();
    const other = await open({ context });
    const left = await other.evaluate(async (library) => {
      const { Leftovers } = await import(library);
      for (let entry; ; ) {
        [entry] = await Leftovers.list();
        if (!entry) continue;
        await Leftovers.discard(entry);
        return Leftovers.list();
      }
    }, LIBRARY);
    assert.deepEqual(left, []);
    assert.deepEqual(await kept(other), []);
    await context.close();
  });

  test('pauses and resumes within a segment', async () => {
    const page = await open();
    await record(page);
    await acked(page, 2);
    await page.evaluate(() => window.recorder.pause());
    await until(async () => (await counts(page)).waiting === 0, { what: 'everything acked' });
    const before = (await counts(page)).recorded;
    await new Promise((resolve) => setTimeout(resolve, 400)); // a pause that a timecode would show
    assert.equal((await counts(page)).recorded, before);
    await page.evaluate(() => window.recorder.resume());
    await acked(page, before + 3);
    await stop(page);
    await assertWhole(page);
    assert.deepEqual((await told(page, 'state')).map(({ state }) => state).slice(0, 3), ['recording', 'paused', 'recording']);
    await page.context().close();
  });

  test('begins a segment for another stream, and for one that got a track', async () => {
    const page = await open();
    await record(page);
    await acked(page, 3);
    await page.evaluate(() => window.recorder.replaceStream(window.canvasStream(160, 120)));
    await acked(page, 7);
    await page.evaluate(async () => {
      // A recorder does not survive this; the library begins anew.
      const stream = window.canvasStream(200, 100);
      const [extra] = window.canvasStream().getAudioTracks();
      await window.recorder.replaceStream(stream);
      window.grown = () => stream.addTrack(extra);
    });
    const from = (await counts(page)).recorded;
    await acked(page, from + 2);
    await page.evaluate(() => window.grown());
    await until(() => page.evaluate(() => window.recorders.length === 4), { what: 'the fourth segment' });
    const now = (await counts(page)).recorded;
    await acked(page, now + 3);
    assert.equal(await page.evaluate(() => window.recorder.state), 'recording');
    await stop(page);
    await assertWhole(page, { segments: 4 });
    await page.context().close();
  });

  test('says when a track ends, and can go on with another stream', async () => {
    const page = await open();
    await record(page, { camera: true });
    await acked(page, 2);
    const devtools = await page.context().newCDPSession(page);
    await page.evaluate(() => { for (const track of window.stream.getTracks()) { track.stop(); track.dispatchEvent(new Event('ended')); } });
    await until(async () => (await told(page, 'ended-track')).length === 2, { what: 'the news' });
    assert.deepEqual((await told(page, 'ended-track')).map(({ kind }) => kind).sort(), ['audio', 'video']);
    await devtools.detach();
    assert.equal(await page.evaluate(() => window.recorder.state), 'recording');
    const from = (await counts(page)).recorded;
    await page.evaluate(() => window.recorder.replaceStream(window.canvasStream()));
    await acked(page, from + 2);
    await stop(page);
    await assertWhole(page, { segments: 2 });
    await page.context().close();
  });

  test('flushes without stopping', async () => {
    const page = await open();
    await record(page, { timesliceMs: 60_000 });
    await until(() => page.evaluate(() => window.recorders[0].state === 'recording'), { what: 'the recorder' });
    await until(async () => { await page.evaluate(() => window.recorder.flush()); return (await counts(page)).acked >= 2; }, { what: 'chunks long before their time' });
    assert.equal(await page.evaluate(() => window.recorder.state), 'recording');
    await stop(page);
    await assertWhole(page);
    await page.context().close();
  });

  test('flushes when the window is hidden', async () => {
    const page = await open();
    await record(page, { timesliceMs: 60_000 });
    await until(async () => {
      await page.evaluate(() => {
        Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
      });
      return (await counts(page)).acked >= 1;
    }, { what: 'a chunk long before its time' });
    await page.context().close();
  });

  test('takes another socket when one has fallen silent', async () => {
    node.script.chunk = ({ index }, conn) => (index < 2 || conn.number > 0 ? undefined : 'unstored');
    const page = await open({ clock: true });
    await record(page);
    await recorded(page, 6);
    assert.equal(node.connections.length, 1);
    for (let step = 0; step < 30 && node.connections.length < 2; step++) await page.clock.runFor(1_500);
    await acked(page, 6);
    assert.ok(node.frames.filter(({ index, conn }) => index === 2 && conn === 0).length > 2, 'it was tried again first');
    await stop(page);
    await assertWhole(page);
    await page.context().close();
  });

  test('does not take a pause for a lost socket', async () => {
    node.script.chunk = ({ index }, conn) => { setTimeout(() => conn.ack(index), 300); return 'silent'; };
    const page = await open({ clock: true });
    await record(page);
    await acked(page, 2);
    await page.evaluate(() => window.recorder.pause());
    await until(async () => (await counts(page)).waiting === 0, { what: 'everything acked' });
    await page.clock.runFor(45_000);
    await page.evaluate(() => window.recorder.resume());
    await acked(page, (await counts(page)).recorded + 3);
    await stop(page);
    await assertWhole(page);
    assert.equal(node.connections.length, 1);
    await page.context().close();
  });

  test('waits with recording while memory is the only storage and is half full', async () => {
    const page = await open();
    let taking = false;
    /** @type {(() => void)[]} */
    const owed = [];
    node.script.chunk = ({ index }, conn) => {
      if (taking || index === 0) return undefined;
      owed.push(() => conn.ack(index));
      return 'silent';
    };
    await record(page, { storage: 'memory' });
    await acked(page, 1);
    await page.evaluate((mib) => {
      const give = () => window.recorders[0].dispatchEvent(new BlobEvent('dataavailable', { data: new Blob([new Uint8Array(4 * mib)]) }));
      for (let at = 0; at < 9; at++) give();
    }, MIB);
    await until(() => page.evaluate(() => window.recorders[0].state === 'paused'), { what: 'the recorder to wait' });
    assert.deepEqual((await told(page, 'error')).map(({ code }) => code), ['storage_unavailable', 'storage_full']);
    assert.equal(await page.evaluate(() => window.recorder.state), 'recording');
    taking = true;
    owed.forEach((ack) => ack());
    await until(() => page.evaluate(() => window.recorders[0].state === 'recording'), { what: 'it to go on' });
    await stop(page);
    await assertWhole(page);
    await page.context().close();
  });

  test('keeps in memory what storage has no room for, and says so', async () => {
    const page = await open({ script: () => {
      const put = IDBObjectStore.prototype.put;
      let room = 6;
      IDBObjectStore.prototype.put = function (value, key) {
        if (value instanceof Uint8Array && room-- <= 0) throw new DOMException('full', 'QuotaExceededError');
        return put.call(this, value, key);
      };
    } });
    await record(page, { storage: 'indexeddb' });
    await acked(page, 10);
    await stop(page);
    await assertWhole(page);
    assert.deepEqual((await told(page, 'error')).map(({ code }) => code), ['storage_unavailable']);
    await page.context().close();
  });

  test('works in a page of another origin', async () => {
    const elsewhere = await startRecordingNode();
    try {
      const page = await browser.open(elsewhere.url);
      await page.addInitScript(watchRecorders);
      await page.reload();
      await record(page, { url: `${node.url}/recording`, library: `${node.url}${LIBRARY}` });
      await acked(page, 4);
      await stop(page);
      await assertWhole(page);
      assert.equal((await told(page, 'storage'))[0].kind, 'opfs');
      await page.context().close();
    } finally {
      await elsewhere.stop();
    }
  });

  test('throws a recording away on both sides', async () => {
    const page = await open();
    await record(page);
    await acked(page, 2);
    await page.evaluate(() => window.recorder.abort());
    await until(() => node.recordings.size === 0, { what: 'the node to forget it' });
    assert.deepEqual(await kept(page), []);
    assert.equal(await page.evaluate(() => window.recorder.state), 'idle');
    await page.context().close();
  });

  test('records in MP4, whose last piece is empty', async () => {
    const page = await open();
    await record(page, { mimeType: 'video/mp4', keyFrameIntervalMs: 300 });
    await acked(page, 3);
    await stop(page);
    const { chunks } = node.recording;
    assert.deepEqual(arrived(), await captured(page));
    assert.equal(chunks.get(0)?.payload.toString('latin1', 4, 8), 'ftyp');
    assert.ok(node.starts[0].mimeType.startsWith('video/mp4'));
    assert.ok([...chunks.values()].every(({ payload }) => payload.length > 0));
    await page.context().close();
  });

  for (const [what, script, kind] of /** @type {const} */ ([
    ['without files', () => { Object.defineProperty(StorageManager.prototype, 'getDirectory', { value: undefined }); }, 'indexeddb'],
    ['without any storage', () => {
      Object.defineProperty(window, 'indexedDB', { get() { throw new DOMException('off', 'SecurityError'); } });
    }, 'memory'],
  ])) {
    test(`works in a browser ${what}`, async () => {
      const page = await open({ script });
      // A worker has a global of its own: only the page can be kept from files, so the worker is, too.
      if (kind === 'indexeddb') await page.evaluate(() => { window.Worker = class { constructor() { throw new Error('off'); } }; });
      let cut = false;
      node.script.chunk = ({ index }, conn) => { if (index === 3 && !cut) { cut = true; conn.cut(); } return undefined; };
      await record(page);
      await acked(page, 6);
      await stop(page);
      await assertWhole(page);
      assert.equal((await told(page, 'storage'))[0].kind, kind);
      const codes = (await told(page, 'error')).map(({ code }) => code);
      assert.deepEqual(codes, kind === 'memory' ? ['storage_unavailable'] : []);
      await page.context().close();
    });
  }

  test('understands what it knows, and passes over the rest', async () => {
    node.script.chunk = ({ index }, conn) => {
      if (index === 1) conn.say({ type: 'novelty' }, { type: 'chunkAck', recordId: 'rec-0', index: 99_999, status: 'success' }, { type: 'chunkAck', recordId: 'rec-0', index: 0, status: 'success' });
      return undefined;
    };
    const page = await open();
    await record(page);
    await acked(page, 4);
    await stop(page);
    await assertWhole(page);
    assert.deepEqual(await told(page, 'error'), []);
    await page.context().close();
  });

  test('goes on when the node had given it up and was making a video already', async () => {
    let asked = 0;
    node.script.start = ({ uploadToken }) => {
      // Back while the node is at work: the third time it is through, and takes more.
      if (uploadToken && asked++ < 2) node.recording.state = 'finalising';
      else if (uploadToken) node.recording.state = 'recording';
      return undefined;
    };
    const page = await open();
    await record(page);
    await acked(page, 3);
    node.connections[0]?.cut();
    await until(() => asked === 3, { what: 'the third return' });
    await acked(page, (await counts(page)).recorded + 2);
    assert.equal(await page.evaluate(() => window.recorder.state), 'recording');
    await stop(page);
    await assertWhole(page);
    await page.context().close();
  });

  test('keeps what the node cannot take any more because somebody else finished the recording', async () => {
    node.script.start = ({ uploadToken }) => { if (uploadToken) node.recording.state = 'ready'; return undefined; };
    const page = await open();
    await record(page);
    await acked(page, 3);
    node.connections[0]?.cut();
    await until(() => page.evaluate(() => window.recorder.state === 'failed'), { what: 'the end' });
    assert.equal((await told(page, 'error')).at(-1).code, 'recording_over');
    await until(async () => ((await kept(page))[0]?.length ?? 0) > 0, { what: 'what came after' });
    await page.context().close();
  });

  test('takes no harm from a chunk that arrives twice, the second time after the stop', async () => {
    node.script.stop = (stop, conn) => [
      { type: 'chunkError', recordId: stop.recordId, index: 0, code: 'recording_stopped', error: 'late', retryable: false },
      { type: 'finished', recordId: stop.recordId, chunks: stop.chunks },
      { type: 'chunkError', recordId: stop.recordId, index: 1, code: 'recording_stopped', error: 'late', retryable: false },
      conn.ready(),
    ];
    const page = await open();
    await record(page);
    await acked(page, 3);
    assert.equal((await stop(page)).complete, true);
    await assertWhole(page);
    assert.deepEqual(await told(page, 'error'), []);
    await page.context().close();
  });

  test('fails clearly when the node has lost what it had acknowledged', async () => {
    node.script.stop = (stop) => [{ type: 'recordingError', recordId: stop.recordId, code: 'chunks_missing', error: 'missing', missingChunks: [1], totalExpected: stop.chunks, retryable: true }];
    const page = await open();
    await record(page);
    await acked(page, 4);
    await page.evaluate(() => { window.recorder.pause(); });
    await until(async () => (await counts(page)).waiting === 0, { what: 'everything acked' });
    const result = await page.evaluate(() => window.recorder.stop().then(() => 'ready', ({ code }) => code));
    assert.equal(result, 'chunks_missing');
    assert.deepEqual((await told(page, 'error')).at(-1).missing, [1]);
    await page.context().close();
  });
});
