/**
 * MP4 from end to end: Chromium records it, a node puts it together while it comes, and Chromium plays the file and seeks
 * in it. Each picture shows when it was made, in black and white stripes: what is shown is read from the picture, not believed.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { skipReason, startBrowser, startNode, until } from './harness.mjs';
import { LIBRARY, counts, stop } from './recorder-kit.mjs';

/** @typedef {import('playwright-core').Page} Page */

const KINDS = { 'H.264': 'video/mp4;codecs=avc1.42E01E,opus', VP9: 'video/mp4;codecs=vp9,opus' };
/** The stripes of a picture, and what the last of them stands for: they count to 51 s. */
const CLOCK = { stripes: 10, unitMs: 50, width: 320, height: 180 };
/** Chunks, of which an MP4 has one for each keyframe. */
const CHUNKS = 8;
/** Longest step between two pictures that a browser that is busy leaves. Unit: seconds. */
const HOLE_S = 0.8;
/** Between what a picture shows and its time, as long as it takes from the canvas to the encoder. Unit: seconds. */
const LATE_S = 0.5;

/** Begins to record stripes and a tone. @param {Page} page @param {string} mimeType */
function record(page, mimeType) {
  return page.evaluate(async ([library, type, { stripes, unitMs, width, height }]) => {
    const { Recorder } = await import(library);
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d', { alpha: false });
    const began = performance.now();
    setInterval(() => {
      const units = Math.floor((performance.now() - began) / unitMs);
      for (let stripe = 0; stripe < stripes; stripe++) {
        context.fillStyle = (units >> (stripes - 1 - stripe)) & 1 ? 'white' : 'black';
        context.fillRect((stripe * width) / stripes, 0, width / stripes, height);
      }
    }, 40);
    const audio = new AudioContext();
    const [tone, out] = [audio.createOscillator(), audio.createMediaStreamDestination()];
    tone.connect(out);
    tone.start();
    window.recorder = new Recorder({ timesliceMs: 250, mimeType: type, keyFrameIntervalMs: 1000 });
    await window.recorder.start(new MediaStream([...canvas.captureStream(25).getTracks(), ...out.stream.getTracks()]));
  }, /** @type {const} */ ([LIBRARY, mimeType, CLOCK]));
}

/**
 * Puts a player on the page, and `window.look`: the next picture that it presents, as its time in the file and the time
 * that it shows, in seconds.
 * @param {Page} page @param {string} src
 */
function openPlayer(page, src) {
  return page.evaluate(async ([url, { stripes, unitMs, width, height }]) => {
    const video = document.createElement('video');
    video.muted = true;
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d', { willReadFrequently: true });
    window.look = () => new Promise((resolve, reject) => {
      video.addEventListener('error', () => reject(new Error(video.error?.message)), { once: true });
      setTimeout(() => reject(new Error('no picture is shown')), 15_000);
      video.requestVideoFrameCallback((_, { mediaTime }) => {
        context.drawImage(video, 0, 0, width, height);
        let units = 0;
        for (let stripe = 0; stripe < stripes; stripe++) {
          const [red] = context.getImageData(((stripe + 0.5) * width) / stripes, height / 2, 1, 1).data;
          units = units * 2 + Number(red > 127);
        }
        resolve({ time: mediaTime, shows: (units * unitMs) / 1000 });
      });
    });
    const first = window.look();
    const loaded = new Promise((resolve) => { video.addEventListener('loadedmetadata', resolve, { once: true }); });
    video.src = url;
    document.body.append(video);
    const { time, shows } = await first;
    await loaded;
    const { duration, videoWidth } = video;
    return { time, shows, duration, videoWidth };
  }, /** @type {const} */ ([src, CLOCK]));
}

/** Goes to a place. @param {Page} page @param {number} wanted seconds */
function seek(page, wanted) {
  return page.evaluate(async (place) => {
    const video = document.querySelector('video');
    const seeked = new Promise((resolve) => { video.addEventListener('seeked', resolve, { once: true }); });
    const picture = window.look();
    video.currentTime = place;
    const [seen] = await Promise.all([picture, seeked]);
    const { currentTime, seekable } = video;
    return { ...seen, currentTime, seekable: Array.from(seekable, (_, at) => [seekable.start(at), seekable.end(at)]) };
  }, wanted);
}

/** The kinds of the boxes that a file consists of. @param {Buffer} file */
function boxes(file) {
  const kinds = [];
  for (let at = 0; at < file.length;) {
    const short = file.readUInt32BE(at);
    kinds.push(file.toString('latin1', at + 4, at + 8));
    at += short === 1 ? Number(file.readBigUInt64BE(at + 8)) : short;
  }
  return kinds;
}

describe('an MP4 that is put together while it comes', { skip: skipReason(), timeout: 300_000 }, () => {
  /** @type {Awaited<ReturnType<typeof startNode>>} */ let node;
  /** @type {Awaited<ReturnType<typeof startBrowser>>} */ let chromium;

  before(async () => {
    node = await startNode();
    chromium = await startBrowser();
  });
  after(async () => {
    await chromium?.stop();
    await node?.stop();
    assert.doesNotMatch(node?.output() ?? '', /WARN|ERROR/, 'nothing was amiss on the way');
  });
  afterEach(async () => {
    await Promise.all(chromium.browser.contexts().map((context) => context.close()));
    assert.deepEqual(chromium.complaints.splice(0), [], 'errors in the console');
  });

  for (const [kind, mimeType] of Object.entries(KINDS)) {
    test(`Chromium plays the ${kind} that it recorded, and seeks in it, forwards and back`, async () => {
      const page = await chromium.open(`${node.url}/health/live`);
      await record(page, mimeType);
      await until(async () => (await counts(page)).acked >= CHUNKS, { what: `${CHUNKS} pieces that are safe`, timeoutMs: 60_000 });
      const ready = await stop(page);
      assert.ok(ready.complete && ready.mimeType.startsWith('video/mp4'), JSON.stringify(ready));
      const file = Buffer.from(await (await fetch(node.url + ready.downloadUrl)).arrayBuffer());
      assert.deepEqual(boxes(file), ['ftyp', 'mdat', 'moov'], 'ffmpeg would have put its head in front');

      const first = await openPlayer(page, ready.downloadUrl);
      assert.equal(first.videoWidth, CLOCK.width);
      assert.ok(Math.abs(first.duration - ready.durationMs / 1000) < 0.1, `${first.duration} s, but ${ready.durationMs} ms were told`);
      const late = first.shows - first.time;
      const isTrue = (/** @type {{ time: number, shows: number }} */ { time, shows }) => {
        assert.ok(Math.abs(shows - time - late) < LATE_S, `at ${time} s the picture of ${shows - late} s`);
      };

      const played = await page.evaluate(async () => {
        const video = document.querySelector('video');
        await video.play();
        const pictures = [];
        while (video.currentTime < 2) pictures.push(await window.look());
        video.pause();
        return pictures;
      });
      assert.ok(played.length > 5, `${played.length} pictures in two seconds`);
      played.forEach(isTrue);
      assert.ok(played.every(({ time }, at) => at === 0 || time > played[at - 1].time), 'one after the other');

      for (const part of [0.85, 0.3, 0.55]) {
        const wanted = first.duration * part;
        const there = await seek(page, wanted);
        assert.ok(Math.abs(there.currentTime - wanted) < 0.1, `${there.currentTime} instead of ${wanted}`);
        assert.ok(there.time <= wanted + 0.1 && there.time > wanted - HOLE_S, `the picture of ${there.time} s at ${wanted} s`);
        isTrue(there);
        assert.deepEqual(there.seekable, [[0, first.duration]]);
      }
    });
  }
});
