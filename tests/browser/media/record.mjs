/**
 * Records real media for the tests of merging: what Chromium's MediaRecorder makes, chunk by chunk.
 *
 *   node tests/browser/media/record.mjs FOLDER
 *
 * Writes FOLDER/<case>/<index>.bin and, last of all, FOLDER/recorded.json:
 * `{ <case>: { chunks: [{ begins, timecodeMs, mimeType }] } }`. It is no test itself.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { startBrowser } from '../harness.mjs';

/**
 * One life of a recorder.
 * @typedef {object} Segment
 * @property {string} type a MIME type with codecs
 * @property {number} ms for how long
 * @property {number} [slice] time between chunks
 * @property {boolean} [video] `false`: sound alone
 * @property {boolean} [audio] `false`: pictures alone
 * @property {boolean} [alpha] pictures with holes in them
 * @property {[number, number]} [size] of the pictures
 * @property {boolean} [pause] pauses for a while in the middle
 * @property {boolean} [lose] its pictures end in the middle, as when somebody stops sharing
 */

const VP8 = 'video/webm;codecs=vp8,opus';
const VP9 = 'video/webm;codecs=vp9,opus';
const MP4 = 'video/mp4;codecs=avc1.42E01E,opus';
const SOUND = 'audio/webm;codecs=opus';

/** @type {Record<string, Segment[]>} */
const CASES = {
  'vp8': [{ type: VP8, ms: 3500 }],
  'vp9': [{ type: VP9, ms: 3500 }],
  'av1': [{ type: 'video/webm;codecs=av01.0.04M.08,opus', ms: 3500 }],
  'h264': [{ type: 'video/webm;codecs=h264,opus', ms: 3500 }],
  'pcm': [{ type: 'video/webm;codecs=vp8,pcm', ms: 2500 }],
  'sound': [{ type: SOUND, ms: 3000, video: false }],
  'pictures': [{ type: 'video/webm;codecs=vp8', ms: 3000, audio: false }],
  'mp4-h264': [{ type: MP4, ms: 4500 }],
  'mp4-vp9': [{ type: 'video/mp4;codecs=vp9,opus', ms: 4500 }],
  'mp4-av1': [{ type: 'video/mp4;codecs=av01.0.04M.08,opus', ms: 4500 }],
  'mp4-sound': [{ type: 'audio/mp4;codecs=opus', ms: 4000, video: false }],
  'alpha': [{ type: 'video/webm;codecs=vp8', ms: 3000, audio: false, alpha: true }],
  'slices': [{ type: VP8, ms: 6000, slice: 40 }],
  'paused': [{ type: VP8, ms: 3000, pause: true }],
  'lost-track': [{ type: VP8, ms: 4000, lose: true }],
  'two': [{ type: VP8, ms: 2500 }, { type: VP8, ms: 2500 }],
  'sizes': [
    { type: VP8, ms: 2000 }, { type: VP8, ms: 2000, size: [480, 270] }, { type: VP8, ms: 2000 },
  ],
  'codecs': [{ type: VP8, ms: 3000 }, { type: VP9, ms: 1500 }],
  'track-gone': [{ type: VP8, ms: 2000 }, { type: 'video/webm;codecs=vp8', ms: 2000, audio: false }],
  'track-added': [{ type: 'video/webm;codecs=vp8', ms: 2000, audio: false }, { type: VP8, ms: 2000 }],
  'video-added': [{ type: SOUND, ms: 2000, video: false }, { type: VP8, ms: 2000 }],
  'files': Array.from({ length: 15 }, () => ({ type: VP8, ms: 400, slice: 60_000 })),
  'mixed': [{ type: VP9, ms: 2000 }, { type: 'video/mp4;codecs=vp9,opus', ms: 3500 }],
  'mp4-two': [{ type: MP4, ms: 3500 }, { type: MP4, ms: 3500 }],
};
/** How many record at once: encoders that get no time leave frames out. */
const AT_ONCE = 8;

/** Runs in the page. @param {Segment[]} segments */
async function record(segments) {
  /** @type {{ begins: boolean, timecodeMs: number, mimeType: string, data: string }[]} */
  const chunks = [];
  const pause = (/** @type {number} */ ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

  /** Moving pictures and a tone. */
  const stream = (/** @type {Segment} */ { video = true, audio = true, alpha = false, size = [320, 180] }) => {
    const tracks = [];
    /** @type {(() => void)[]} */
    const ends = [];
    if (video) {
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = size;
      const context = canvas.getContext('2d', { alpha });
      let frame = 0;
      const draw = () => {
        frame += 1;
        context.clearRect(0, 0, size[0], size[1]);
        context.fillStyle = `hsl(${frame * 3} 80% 50% / ${alpha ? 0.5 : 1})`;
        context.fillRect(0, 0, size[0], alpha ? size[1] / 2 : size[1]);
        context.fillStyle = 'white';
        context.font = '40px sans-serif';
        context.fillText(String(frame), (frame * 4) % size[0], size[1] / 2);
      };
      draw();
      const timer = setInterval(draw, 1000 / 30);
      ends.push(() => clearInterval(timer));
      tracks.push(...canvas.captureStream(30).getTracks());
    }
    if (audio) {
      const sound = new AudioContext();
      const tone = sound.createOscillator();
      const out = sound.createMediaStreamDestination();
      tone.connect(out);
      tone.start();
      ends.push(() => sound.close());
      tracks.push(...out.stream.getTracks());
    }
    return { media: new MediaStream(tracks), end: () => ends.forEach((end) => end()) };
  };

  /** One life, for this long. Gives how many chunks it made. */
  const live = async (/** @type {Segment} */ segment, /** @type {number} */ ms) => {
    const { media, end } = stream(segment);
    const recorder = new MediaRecorder(media, {
      mimeType: segment.type, videoBitsPerSecond: 300_000, videoKeyFrameIntervalDuration: 1000,
    });
    let made = 0;
    let started = 0;
    /** @type {Promise<void>} */
    let encoding = Promise.resolve();
    recorder.ondataavailable = ({ data }) => {
      if (data.size === 0) return;
      const timecodeMs = Math.round(performance.now() - started);
      const about = { begins: made === 0, timecodeMs, mimeType: recorder.mimeType };
      made += 1;
      encoding = encoding.then(async () => {
        const bytes = new Uint8Array(await data.arrayBuffer());
        let text = '';
        for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
        chunks.push({ ...about, data: btoa(text) });
      });
    };
    const stopped = new Promise((resolve, reject) => {
      recorder.onstop = resolve;
      recorder.onerror = (event) => reject(new Error(`${segment.type}: ${event.error ?? event}`));
    });
    started = performance.now();
    recorder.start(segment.slice ?? 500);
    await pause(ms / 2);
    if (segment.pause) { recorder.pause(); await pause(700); recorder.resume(); }
    if (segment.lose) media.getVideoTracks()[0]?.stop();
    await pause(ms / 2);
    if (recorder.state !== 'inactive') recorder.stop();
    await stopped;
    await encoding;
    end();
    return made;
  };

  // On a machine that is busy, of a short one nothing may have come before it ends.
  for (const segment of segments) {
    for (let { ms } = segment; await live(segment, ms) === 0; ms *= 2) {
      if (ms > 60_000) throw new Error(`${segment.type}: nothing comes`);
    }
  }
  return chunks;
}

const folder = process.argv[2];
if (!folder) throw new Error('usage: record.mjs FOLDER');
// Recorders want a page with an origin.
const server = http.createServer((_, response) => {
  response.setHeader('content-type', 'text/html');
  response.end('<!doctype html><title>recorder</title>');
});
await new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(undefined)); });
const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
const browser = await startBrowser();
/** @type {Record<string, { chunks: object[] }>} */
const recorded = {};
try {
  const waiting = Object.entries(CASES);
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [name, segments] = next;
      const page = await browser.open(`http://127.0.0.1:${port}/`);
      const chunks = await page.evaluate(record, segments);
      await page.context().close();
      await mkdir(path.join(folder, name), { recursive: true });
      await Promise.all(chunks.map(({ data }, index) => (
        writeFile(path.join(folder, name, `${index}.bin`), Buffer.from(data, 'base64')))));
      recorded[name] = { chunks: chunks.map(({ data, ...about }) => about) };
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
} finally {
  await browser.stop();
  server.close();
}
await writeFile(path.join(folder, 'recorded.json'), JSON.stringify(recorded, null, 1));
