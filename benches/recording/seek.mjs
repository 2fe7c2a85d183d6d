/**
 * Seeks in Chromium, in turns, in a video that a node serves and in one that a bare HTTP server has from a file. Started
 * by `seek.rs`, which reads the line of JSON that it writes:
 *
 *   node benches/recording/seek.mjs VIDEO FILE
 *
 * VIDEO is an address on the node, FILE the same recording as ffmpeg copies it.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import http from 'node:http';
import { pipeline } from 'node:stream';
import { startBrowser, until } from '../../tests/browser/harness.mjs';

const SEEKS = 60;
/** Of the length: the places are spread evenly, each jump is long, and no two stand alike between their keyframes. */
const STEP = (Math.sqrt(5) - 1) / 2;
/** The last place is so close to the end. Unit: seconds. */
const END_S = 0.5;
/** So far from its place the frame may be. Unit: seconds. */
const OFF_S = 0.2;
/** For one seek. */
const PATIENCE_MS = 10_000;
/** Nothing comes any more when nothing came for so long: a player reads ahead after each seek. */
const QUIET_MS = 250;

/** @typedef {{ loadedMs: number, durationS: number, seeksMs: number[], bytes: number, requests: number }} Report */

/**
 * Serves one file, in ranges, and an empty page, with the headers that matter to a player as the node sends them.
 * @param {string} file
 */
async function startBare(file) {
  const { size } = await stat(file);
  const server = http.createServer((request, response) => {
    if (request.url !== '/video') {
      response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>bare</title>');
      return;
    }
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const [start, end] = [Number(first ?? 0), Math.min(Number(last || size), size - 1)];
    response.writeHead(first === undefined ? 200 : 206, {
      'Accept-Ranges': 'bytes', 'Cache-Control': 'private, no-cache', 'Content-Length': end - start + 1, 'Content-Type': 'video/webm', ETag: '"bare"',
      ...(first === undefined ? {} : { 'Content-Range': `bytes ${start}-${end}/${size}` }),
    });
    // A player that seeks ends what it was reading.
    pipeline(createReadStream(file, { start, end }), response, () => {});
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(undefined)); });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}`,
    stop() { server.closeAllConnections(); server.close(); },
  };
}

/** Runs in the page: how long its first frame takes. @param {string} url */
async function load(url) {
  const video = document.createElement('video');
  video.muted = true;
  video.preload = 'auto';
  const began = performance.now();
  await new Promise((resolve, reject) => {
    video.requestVideoFrameCallback(resolve);
    video.addEventListener('error', () => reject(new Error(video.error?.message)), { once: true });
    video.src = url;
    document.body.append(video);
  });
  return { loadedMs: performance.now() - began, durationS: video.duration };
}

/**
 * Runs in the page: how long it takes until it has sought and shows the frame of that place.
 * @param {{ wanted: number, off: number, patience: number }} place
 */
async function seek({ wanted, off, patience }) {
  const video = document.querySelector('video');
  if (!video) throw new Error('no video');
  let last = -1;
  const seeked = new Promise((resolve) => { video.addEventListener('seeked', resolve, { once: true }); });
  const shown = new Promise((resolve) => {
    const look = (/** @type {number} */ _, /** @type {VideoFrameCallbackMetadata} */ { mediaTime }) => {
      last = mediaTime;
      if (Math.abs(mediaTime - wanted) < off) resolve(undefined);
      else video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  });
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`at ${wanted} s the frame of ${last} s is shown; ${video.error?.message ?? 'no error'}`)), patience);
  });
  const began = performance.now();
  video.currentTime = wanted;
  await Promise.race([Promise.all([seeked, shown]), late]);
  return performance.now() - began;
}

/**
 * Opens a page and its video in it, and counts what comes to it.
 * @param {Awaited<ReturnType<typeof startBrowser>>} browser @param {string} pageUrl @param {string} video
 */
async function openPlayer(browser, pageUrl, video) {
  const page = await browser.open(pageUrl);
  const devtools = await page.context().newCDPSession(page);
  let [bytes, requests] = [0, 0];
  devtools.on('Network.dataReceived', ({ dataLength }) => { bytes += dataLength; });
  devtools.on('Network.requestWillBeSent', () => { requests += 1; });
  await devtools.send('Network.enable');
  const { loadedMs, durationS } = await page.evaluate(load, video);
  /** @type {number[]} */
  const seeksMs = [];
  return {
    durationS,
    bytes: () => bytes,
    close: () => page.context().close(),
    seek: async (/** @type {number} */ wanted) => {
      seeksMs.push(await page.evaluate(seek, { wanted, off: OFF_S, patience: PATIENCE_MS }));
    },
    report: () => /** @type {Report} */ ({ loadedMs, durationS, seeksMs, bytes, requests }),
  };
}

/** @typedef {Awaited<ReturnType<typeof openPlayer>>} Player */

/** Waits until neither reads ahead any more. @param {Player[]} players */
async function quiet(players) {
  const count = () => players.reduce((sum, player) => sum + player.bytes(), 0);
  let [seen, since] = [count(), Date.now()];
  await until(() => {
    if (count() !== seen) [seen, since] = [count(), Date.now()];
    return Date.now() - since >= QUIET_MS;
  }, { what: 'players that read no further', timeoutMs: 60_000, everyMs: 20 });
}

/** Video that a node has assembled names it; ffmpeg names itself. @param {string} video */
async function assertAssembled(video) {
  const head = await fetch(video, { headers: { Range: 'bytes=0-4095' } });
  if (head.status !== 206) throw new Error(`the node answers a range with ${head.status}`);
  if (!(await head.text()).includes('greenroom')) throw new Error('the video was not assembled by the node');
}

const [video, file] = process.argv.slice(2);
if (!video || !file) throw new Error('usage: seek.mjs VIDEO FILE');
await assertAssembled(video);
const [bare, browser] = [await startBare(file), await startBrowser()];
try {
  // The first player of a browser waits for its decoders to be started.
  await (await openPlayer(browser, bare.url, `${bare.url}/video`)).close();
  const ours = await openPlayer(browser, new URL('/health/live', video).href, video);
  await quiet([ours]);
  const its = await openPlayer(browser, bare.url, `${bare.url}/video`);
  for (let number = 1; number <= SEEKS; number++) {
    const at = number === SEEKS / 2 ? 1 : (number * STEP) % 1;
    const wanted = at * (Math.min(ours.durationS, its.durationS) - END_S);
    for (const player of number % 2 ? [ours, its] : [its, ours]) {
      await quiet([ours, its]);
      await player.seek(wanted);
    }
  }
  console.log(JSON.stringify({ ours: ours.report(), bare: its.report() }));
} finally {
  await browser.stop();
  bare.stop();
}
