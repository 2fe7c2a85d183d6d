/**
 * What stands in the photographs of `screenshots.mjs`: a face for the cameras, a shelf of recordings, and
 * everything that a recorder can take.
 */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';

/**
 * @param {number} count
 * @returns {any[]} recordings in every state
 */
export function shelfOf(count) {
  const titles = ['Design review', 'Stand-up', 'Interview with the night shift', 'How the new invoice works', 'Screen, 20 November, 16:41', 'Onboarding: the first week, with questions from everyone who started in October', 'Retrospective', 'Voice note', 'Quarterly numbers'];
  return titles.slice(0, count).map((title, place) => {
    const recordId = `rec-${place + 1}`;
    const sound = title === 'Voice note';
    const ready = { state: 'ready', durationMs: 754_000 + place * 397_000, sizeBytes: 81_300_000 + place * 33_700_000, complete: true, gaps: [], downloadUrl: `/recordings/download/${recordId}.webm`, posterUrl: sound ? null : `/recordings/download/${recordId}.jpg` };
    const special = [
      { state: 'recording' },
      { state: 'finalising', percent: 64 },
      {},
      { complete: false, gaps: [{ fromMs: 72_000, toMs: 74_000, chunks: [71, 72] }, { fromMs: 305_000, toMs: 306_000, chunks: [299] }] },
      { state: 'failed', error: { code: 'merge_failed', message: 'ffmpeg ended with 1' } },
    ][place];
    const startedAt = new Date(Date.now() - [240_000, 3_900_000, 90_000_000, 180_000_000, 260_000_000, 400_000_000, 800_000_000, 900_000_000, 2_000_000_000][place]).toISOString();
    return { recordId, title, roomName: place % 3 === 0 ? 'design-review' : null, owner: 'b-1', startedAt, mimeType: sound ? 'audio/webm' : 'video/webm', ...ready, ...special };
  });
}

/**
 * Makes what the cameras see: a calm backdrop and somebody who sways a little, instead of Chromium's test card.
 * @param {string} folder
 * @returns {Promise<string>} a file
 */
export async function portrait(folder) {
  const [width, height, frames] = [640, 360, 40];
  const inside = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ sway) => {
    const head = ((x - 320 - sway) / 58) ** 2 + ((y - 150) / 74) ** 2;
    const shoulders = ((x - 320 - sway / 2) / 150) ** 2 + ((y - 372) / 132) ** 2;
    return Math.max(Math.min(1, (1 - head) * 12), Math.min(1, (1 - shoulders) * 12), 0);
  };
  const parts = [Buffer.from(`YUV4MPEG2 W${width} H${height} F20:1 Ip A1:1 C420jpeg\n`)];
  for (let frame = 0; frame < frames; frame += 1) {
    const sway = 14 * Math.sin((2 * Math.PI * frame) / frames);
    const picture = Buffer.alloc((width * height * 3) / 2);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const backdrop = 178 - y / 6 + 26 * Math.sin(x / 190);
        const body = inside(x, y, sway);
        picture[y * width + x] = backdrop * (1 - body) + 86 * body;
      }
    }
    picture.fill(118, width * height, (width * height * 5) / 4);
    picture.fill(134, (width * height * 5) / 4);
    parts.push(Buffer.from('FRAME\n'), picture);
  }
  const file = path.join(folder, 'portrait.y4m');
  await writeFile(file, Buffer.concat(parts));
  return file;
}

/** Chooses every source of the recorder. @param {import('playwright-core').Page} page */
export async function chooseAll(page) {
  for (const source of ['screen', 'camera', 'microphone']) {
    if ((await page.getAttribute(`[data-source=${source}]`, 'aria-pressed')) === 'false') await page.click(`[data-source=${source}]`);
    await page.waitForSelector(`[data-source=${source}][aria-pressed=true]`);
  }
}
