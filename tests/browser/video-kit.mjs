/**
 * What the tests of real recordings share: the recorder page as people use it, and a look at the video that comes of it. It
 * is no test itself.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { until } from './harness.mjs';

/** @typedef {import('playwright-core').Page} Page */

const run = promisify(execFile);
export const START = '.studio-form button[type=submit]';
export const READY = '#result[data-state=ready]';
/** A video made of what was cut, reloaded and killed is waited for a little longer. */
export const RESULT_MS = 60_000;
/** Longest step between two pictures that is no hole: the fake screen changes several times a second. */
const HOLE_S = 0.8;

/** @param {Page} page @param {string} source */
export async function turnOn(page, source) {
  await page.waitForSelector('[data-restored]');
  const off = page.locator(`[data-source=${source}][aria-pressed=false]`);
  if (await off.count()) await off.click();
  await page.waitForSelector(`[data-source=${source}][aria-pressed=true]`);
}

/** @param {Page} page @param {number} count */
export async function safe(page, count) {
  await until(async () => Number(await page.innerText('[data-count=acked] b')) >= count, {
    what: `${count} pieces safe`, timeoutMs: RESULT_MS,
  });
}

/**
 * Looks into a finished video as a stranger would: with ffprobe and a whole decode.
 * @param {string} url
 * @param {string} folder
 */
async function examine(url, folder) {
  const file = path.join(folder, 'result');
  await writeFile(file, Buffer.from(await (await fetch(url)).arrayBuffer()));
  const { stdout } = await run('ffprobe', [
    '-v', 'error', '-show_entries', 'format=duration:stream=codec_type:packet=stream_index,pts_time', '-of', 'json', file,
  ], { maxBuffer: 64 << 20 });
  const { format, streams, packets } = JSON.parse(stdout);
  const decoded = await run('ffmpeg', ['-v', 'error', '-i', file, '-fps_mode', 'vfr', '-enc_time_base', '-1', '-f', 'null', '-']);
  // A browser that is busy stamps two packets of sound alike, which is kept as it came and is no fault in any of them.
  const alike = /non monotonically increasing dts .*: (\d+) >= \1$/;
  const complaints = decoded.stderr.split('\n').filter((line) => line !== '' && !alike.test(line));
  const kinds = streams.map((/** @type {any} */ stream) => stream.codec_type).sort();
  const video = streams.findIndex((/** @type {any} */ stream) => stream.codec_type === 'video');
  const times = packets.filter((/** @type {any} */ packet) => packet.stream_index === video)
    .map((/** @type {any} */ packet) => Number(packet.pts_time));
  const steps = times.slice(1).map((/** @type {number} */ time, /** @type {number} */ at) => time - times[at]);
  return {
    duration: Number(format.duration), kinds, complaints: complaints.join('\n'),
    backwards: steps.filter((/** @type {number} */ step) => step <= 0).length,
    holes: steps.filter((/** @type {number} */ step) => step > HOLE_S),
  };
}

/**
 * Runs in a page: plays a moment of a video, then seeks to its last third; what the player says of itself.
 * @param {string} url
 */
async function playAndSeek(url) {
  const video = document.createElement('video');
  video.muted = true;
  video.src = url;
  document.body.append(video);
  const happens = (/** @type {string} */ name) => new Promise((resolve, reject) => {
    video.addEventListener(name, () => resolve(undefined), { once: true });
    video.addEventListener('error', () => reject(new Error(video.error?.message)), { once: true });
  });
  await happens('loadedmetadata');
  await video.play();
  await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
  video.pause();
  const wanted = video.duration * 0.7;
  const sought = happens('seeked');
  video.currentTime = wanted;
  await sought;
  const off = Math.abs(video.currentTime - wanted);
  const shown = { duration: video.duration, width: video.videoWidth, off, readyState: video.readyState };
  video.remove();
  return shown;
}

/**
 * A finished video is all that was recorded: it decodes, has no gap, and a player seeks in it.
 * @param {any} row of the list of recordings
 * @param {{ url: string, page: Page, folder: string }} where url: of the node; page: with the same origin; folder: for the file
 * @returns {Promise<number>} how long it is, in seconds
 */
export async function assertVideo(row, { url, page, folder }) {
  assert.deepEqual([row.state, row.complete, row.gaps, row.missingChunks], ['ready', true, [], []]);
  const seen = await examine(url + row.downloadUrl, folder);
  assert.deepEqual(seen.kinds, ['audio', 'video']);
  assert.equal(seen.complaints, '', 'every packet decodes');
  assert.equal(seen.backwards, 0, 'times rise');
  assert.deepEqual(seen.holes, [], 'no hole in the pictures');
  assert.ok(Math.abs(seen.duration * 1000 - row.durationMs) < 100, 'as long as the node says');
  const player = await page.evaluate(playAndSeek, row.downloadUrl);
  assert.ok(Number.isFinite(player.duration) && player.width > 0 && player.readyState >= 2, JSON.stringify(player));
  assert.ok(player.off < 0.5, 'it seeks where it is told to');
  return seen.duration;
}
