/**
 * What the tests of the recorder share: a browser, a node that follows a script and checks every frame that arrives,
 * pages that record, and what must hold in the end.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { after, afterEach, before, beforeEach, describe } from 'node:test';
import { CHROMIUM, startBrowser, until } from './harness.mjs';
import { startRecordingNode } from './recording-node.mjs';

export const LIBRARY = '/static/js/index.js';
export const MIB = 1024 * 1024;
const EBML = '1a45dfa3';

/** @typedef {import('playwright-core').Page} Page */

/** Of all tests of a file. @type {Awaited<ReturnType<typeof startBrowser>>} */
export let browser;
/** Of the test that runs. @type {Awaited<ReturnType<typeof startRecordingNode>>} */
export let node;

/** Runs in every page before anything else: keeps what MediaRecorders gave, apart from the library. */
export function watchRecorders() {
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
export async function open({ script, context, clock = false } = {}) {
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
export function record(page, options = {}) {
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
export const stop = (page) => page.evaluate(() => window.recorder.stop().then((ready) => ready, ({ code }) => ({ code })));
/** @param {Page} page */
export const counts = (page) => page.evaluate(() => window.recorder.counts);
/** @param {Page} page @param {string} type */
export const told = (page, type) => page.evaluate((wanted) => window.told.filter((one) => one.type === wanted), type);
/** @param {Page} page @param {number} chunks */
export const acked = (page, chunks) => until(async () => (await counts(page)).acked >= chunks, { what: `${chunks} chunks acked`, everyMs: 30 });
/** @param {Page} page @param {number} chunks */
export const recorded = (page, chunks) => until(async () => (await counts(page)).recorded >= chunks, { what: `${chunks} chunks recorded`, everyMs: 30 });

/**
 * Waits until nothing is recorded any more and everything is acked: after `pause()` a piece comes of what the encoders
 * still had. Says how many chunks were recorded, and has lasted long enough to be seen in a timecode.
 * @param {Page} page
 */
export async function quiet(page) {
  let before = -1;
  await until(async () => {
    const { recorded: now, waiting } = await counts(page);
    const same = waiting === 0 && now === before;
    before = now;
    return same;
  }, { what: 'nothing recorded, and everything acked', everyMs: 1000 });
  return before;
}

/** The digest of everything that the MediaRecorders of a page gave. @param {Page} page */
export const captured = (page) => page.evaluate(async () => {
  const all = await new Blob(window.blobs).arrayBuffer();
  const digest = [...new Uint8Array(await crypto.subtle.digest('SHA-256', all))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return { digest, bytes: all.byteLength };
});

/** @param {number} [from] @param {number} [to] */
export function arrived(from = 0, to = Infinity) {
  const chunks = [...node.recording.chunks.values()].sort((a, b) => a.index - b.index).filter(({ index }) => index >= from && index < to);
  const bytes = Buffer.concat(chunks.map(({ payload }) => payload));
  return { digest: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length };
}

/**
 * The node has what was recorded, byte for byte, and was told so in numbers.
 * @param {Page} page
 * @param {{ segments?: number }} [options]
 */
export async function assertWhole(page, { segments = 1 } = {}) {
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
export function assertInOrder() {
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
export const kept = (page) => page.evaluate(async (library) => {
  const { ChunkStore } = await import(library);
  const store = await ChunkStore.open();
  const metas = await store.recordings();
  return Promise.all(metas.map(async (meta) => (await store.contents(meta)).pieces.map(({ index }) => index)));
}, LIBRARY);

const NO_BROWSER = !process.env.CI && !existsSync(CHROMIUM) && `not found: ${CHROMIUM}`;

/**
 * Tests with one `browser`, and with a `node` of its own for each, which must have nothing to complain of in the end.
 * @param {string} what
 * @param {() => void} tests
 */
export function describeRecorder(what, tests) {
  describe(what, { skip: NO_BROWSER, timeout: 300_000 }, () => {
    before(async () => { browser = await startBrowser(); });
    after(async () => { await browser?.stop(); });
    beforeEach(async () => { node = await startRecordingNode(); });
    afterEach(async () => {
      await node.stop();
      assert.deepEqual(node.complaints, []);
    });

    tests();
  });
}
