/**
 * Photographs every page and state of the room, phone and desktop, light and dark, into a folder:
 *
 *     node tests/browser/screenshots.mjs <folder> [state …]
 *
 * It is no test: somebody looks at the pictures. They come from a real node and real calls.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { loseMedia, startBrowser, startNode, startWire, until } from './harness.mjs';
import { ClusterScript } from './page-cluster.mjs';
import { RecordingNode } from './page-recordings.mjs';
import { chooseAll, portrait, shelfOf } from './screenshots-props.mjs';
import { SMALL_WINDOW, disperse, enterRoom, inCall, noticed, othersSeen, say } from './visitors.mjs';

const SIZES = /** @type {const} */ ({ phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } });
const SCHEMES = /** @type {const} */ (['light', 'dark']);
const NAMES = ['Amara Okafor', 'Lukas', 'Mei-Lin Chen', 'Søren Ålund', 'Priya Raman', 'João', 'Fatima El-Amin', 'Oleksandr Kovalenko', 'Ines'];

const [folder, ...only] = process.argv.slice(2);
if (!folder) throw new Error('usage: node tests/browser/screenshots.mjs <folder> [state …]');
await mkdir(folder, { recursive: true });

const scratch = await mkdtemp(path.join(os.tmpdir(), 'greenroom-'));
// A lost participant must not be given up while its picture is taken.
const node = await startNode({ env: { SESSION_GRACE_SECS: '120' } });
const wire = await startWire(node.port);
const fullNode = await startNode({ env: { ROOM_MAX_PARTICIPANTS: '1' } });
const chromium = await startBrowser({ args: [`--use-file-for-fake-video-capture=${await portrait(scratch)}`] });
const bare = await startBrowser({ args: ['--use-fake-device-for-media-stream=device-count=0'] });

/**
 * @param {import('playwright-core').Page} page
 * @param {string} name
 */
async function shoot(page, name) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewportSize(viewport);
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.waitForFunction((scheme) => matchMedia(`(prefers-color-scheme: ${scheme})`).matches, colorScheme);
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100))));
      await page.screenshot({ path: path.join(folder, `${name}-${size}-${colorScheme}.png`) });
    }
  }
  console.log(name);
}

/** @param {string} room @param {number} count @param {string} [address] of the first one's node */
async function gather(room, count, address = node.url) {
  const pages = [];
  for (const name of NAMES.slice(0, count)) {
    // Only the first is photographed; small windows cost less to draw.
    const page = await chromium.open(undefined, { losable: true, viewport: pages.length === 0 ? SIZES.desktop : SMALL_WINDOW });
    const query = count > 3 ? '?video=small' : '';
    await enterRoom(page, `${pages.length === 0 ? address : node.url}/room/${room}${query}`, name, { muted: pages.length > 2 });
    pages.push(page);
  }
  for (const page of pages) await othersSeen(page, count - 1);
  return pages;
}

/** @type {Record<string, () => Promise<void>>} */
const STATES = {
  async landing() {
    const page = await chromium.open(node.url);
    await page.fill('#name', 'Amara Okafor');
    await page.fill('#room', 'quiet-harbor-wren-402');
    await shoot(page, 'landing');
    await page.fill('#name', '');
    await page.fill('#room', 'späte runde?');
    await page.click('button[type=submit]');
    await shoot(page, 'landing-wrong');
    await disperse(page);
  },
  async notfound() {
    const page = await chromium.open(`${node.url}/no/such/page`);
    await shoot(page, 'notfound');
    await page.goto(`${node.url}/room/${encodeURIComponent('späte runde')}`);
    await shoot(page, 'badroom');
    await disperse(page);
  },
  async prejoin() {
    const page = await chromium.open(`${node.url}/room/quiet-harbor-wren-402`);
    await page.fill('#your-name', 'Amara Okafor');
    await page.waitForFunction(() => document.querySelector('video')?.videoWidth);
    await shoot(page, 'prejoin');
    await page.click('[data-toggle=audio]');
    await page.click('[data-toggle=video]');
    await shoot(page, 'prejoin-off');
    await disperse(page);
  },
  async denied() {
    const page = await chromium.open(undefined, { permissions: [] });
    await page.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('Permission denied', 'NotAllowedError'));
      navigator.permissions.query = async () => /** @type {any} */ ({ state: 'denied' });
    });
    await page.goto(`${node.url}/room/denied`);
    await page.fill('#your-name', 'Amara Okafor');
    await page.waitForSelector('.note h2');
    await shoot(page, 'denied');
    const nothing = await bare.open(`${node.url}/room/nothing`, { permissions: [] });
    await nothing.fill('#your-name', 'Amara Okafor');
    await nothing.waitForSelector('.note h2');
    await shoot(nothing, 'nocamera');
    await disperse(page, nothing);
    const insecure = await chromium.open(undefined);
    await insecure.addInitScript(() => Object.defineProperty(navigator, 'mediaDevices', { value: undefined }));
    await insecure.goto(`${node.url}/room/insecure`);
    await insecure.waitForSelector('.note h2');
    await shoot(insecure, 'insecure');
    await disperse(insecure);
  },
  async one() {
    const pages = await gather('quiet-harbor-wren-402', 1);
    await shoot(pages[0], 'room-1');
    await pages[0].click('[popovertarget=more-menu]');
    await shoot(pages[0], 'menu');
    await pages[0].click('#more-menu [data-act=settings]');
    await pages[0].waitForFunction(() => document.querySelector('#settings video')?.videoWidth);
    await shoot(pages[0], 'settings');
    await pages[0].keyboard.press('Escape');
    await pages[0].keyboard.press('?');
    await shoot(pages[0], 'help');
    await disperse(...pages);
  },
  async two() {
    const pages = await gather('weekly', 2);
    const [first, second] = pages;
    await shoot(first, 'room-2');
    await second.keyboard.press('v');
    await second.keyboard.press('m');
    await first.waitForSelector('.tile:nth-child(2):not([data-picture])');
    await first.keyboard.press('m');
    await shoot(first, 'room-2-off');
    await disperse(...pages);
  },
  async three() {
    const pages = await gather('design-review', 3);
    const [first, second, third] = pages;
    await shoot(first, 'room-3');
    await first.keyboard.press('c');
    await say(first, 'Good morning! I put the new drawings into the folder.');
    await say(second, 'Thanks, opening them now.');
    await say(second, 'The second one has no dimensions yet, or do I look at an old version of it? Mine says draft 3.');
    await say(third, '<b>Mine too</b>');
    await say(first, 'Draft 4 is on its way.');
    await shoot(first, 'chat');
    await first.keyboard.press('Escape');
    await first.click('button[data-panel=people]');
    await shoot(first, 'people');
    await first.click('[aria-label="Remove Lukas"]');
    await shoot(first, 'confirm');
    await first.click('#confirm [value=no]');
    await first.click('#people [data-act=close]');
    await second.setViewportSize(SIZES.desktop);
    await second.click('.bar [data-act=share]');
    await first.waitForSelector('.tile[data-kind=screen][data-picture]');
    await shoot(first, 'screen');
    await second.click('.bar [data-act=share]');
    await first.waitForSelector('.tile[data-kind=screen]', { state: 'detached' });
    await first.click('button[data-panel=people]');
    await first.click('#people [data-act=lock]');
    await first.click('[aria-label="Mute Lukas"]');
    await first.click('#people [data-act=close]');
    await second.waitForSelector('.toast');
    await shoot(second, 'muted');
    const fourth = await chromium.open();
    await enterRoom(fourth, `${node.url}/room/design-review`, 'Late', { stay: false });
    await noticed(fourth, 'room_locked');
    await shoot(fourth, 'locked');
    await first.click('button[data-panel=people]');
    await first.click('[aria-label="Remove Lukas"]');
    await first.click('#confirm [value=yes]');
    await second.waitForSelector('#notice:not([hidden])');
    await shoot(second, 'kicked');
    await third.click('[data-act=leave]');
    await shoot(third, 'left');
    await disperse(...pages, fourth);
  },
  async nine() {
    const pages = await gather('all-hands', 9);
    await pages[1].keyboard.press('v');
    await pages[0].waitForSelector('.tile:not([data-picture])');
    await shoot(pages[0], 'room-9');
    await pages[0].click('button[data-panel=people]');
    await shoot(pages[0], 'room-9-people');
    await pages[0].click('#people [data-act=close]');
    await pages[2].setViewportSize(SIZES.desktop);
    await pages[2].click('.bar [data-act=share]');
    await pages[0].waitForSelector('.tile[data-kind=screen][data-picture]');
    await shoot(pages[0], 'room-9-screen');
    await disperse(...pages);
  },
  async reconnecting() {
    const pages = await gather('train', 2, wire.url);
    wire.down();
    await pages[0].waitForSelector('#banner:not([hidden])');
    await pages[1].waitForSelector('.tile[data-away]');
    await shoot(pages[0], 'reconnecting-own');
    wire.up();
    await pages[0].waitForSelector('#banner[data-tone=good]');
    wire.down();
    await loseMedia(pages[0], true);
    await pages[1].waitForSelector('.tile[data-frozen]');
    await shoot(pages[1], 'reconnecting-other');
    await loseMedia(pages[0], false);
    wire.up();
    await disperse(...pages);
  },
  async full() {
    const first = await chromium.open();
    await enterRoom(first, `${fullNode.url}/room/small`, 'Amara');
    const second = await chromium.open();
    await enterRoom(second, `${fullNode.url}/room/small`, 'Lukas', { stay: false });
    await second.waitForSelector('#notice:not([hidden])');
    await shoot(second, 'full');
    await disperse(first, second);
  },
  async elsewhere() {
    const first = await chromium.open();
    await enterRoom(first, `${node.url}/room/twice`, 'Amara');
    const second = await first.context().newPage();
    await second.goto(`${node.url}/room/twice`);
    await second.waitForSelector('[data-part=elsewhere]:not([hidden])');
    await shoot(second, 'prejoin-elsewhere');
    await second.click('button.primary[type=submit]');
    await inCall(second);
    await first.waitForSelector('#notice:not([hidden])');
    await shoot(first, 'elsewhere');
    await disperse(first);
  },
  async recorder() {
    const { page, recorder } = await openRecorder();
    await shoot(page, 'recorder-choose');
    await chooseAll(page);
    await page.fill('#title', 'How the new invoice works');
    await shoot(page, 'recorder-chosen');
    await page.click('.studio-form button[type=submit]');
    await page.waitForFunction(() => Number(document.querySelector('[data-count=acked] b')?.textContent) > 3);
    await shoot(page, 'recorder-recording');
    recorder.acks = false;
    await page.waitForFunction(() => Number(document.querySelector('[data-count=recorded] b')?.textContent) > 12);
    await page.context().setOffline(true);
    await page.click('[data-act=pause]');
    await shoot(page, 'recorder-paused-offline');
    await page.context().setOffline(false);
    recorder.outcome = null;
    await page.click('[data-act=stop]');
    await shoot(page, 'recorder-sending');
    recorder.release();
    await page.waitForSelector('#result[data-state=finalising]');
    recorder.progress('rec-1', 42);
    await page.waitForFunction(() => document.querySelector('progress')?.value === 42);
    await shoot(page, 'recorder-finalising');
    recorder.finish('rec-1');
    await page.waitForSelector('#result[data-state=ready] video');
    await page.waitForFunction(() => (document.querySelector('#result video')?.readyState ?? 0) > 1);
    await shoot(page, 'recorder-ready');
    await disperse(page);
  },
  async recorderfails() {
    const { page, recorder } = await openRecorder('?room=design-review');
    recorder.outcome = 'failed';
    await page.waitForSelector('[data-source=microphone][aria-pressed=true]');
    await page.click('.studio-form button[type=submit]');
    await page.waitForFunction(() => Number(document.querySelector('[data-count=acked] b')?.textContent) > 0);
    await page.click('[data-act=stop]');
    await page.waitForSelector('#result[data-state=failed]');
    await shoot(page, 'recorder-failed');
    await disperse(page);
    const refused = await chromium.open(undefined, { permissions: [] });
    await refused.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('Permission denied', 'NotAllowedError'));
      navigator.permissions.query = async () => /** @type {any} */ ({ state: 'denied' });
    });
    await refused.goto(`${node.url}/recorder`);
    await refused.click('[data-source=camera]');
    await refused.click('[data-source=microphone]');
    await refused.waitForSelector('.note:nth-child(2)');
    await shoot(refused, 'recorder-refused');
    await disperse(refused);
  },
  async callrecording() {
    const pages = await gather('design-review', 3);
    const [first, second, third] = pages;
    const recorder = new RecordingNode();
    await recorder.attach(first);
    await third.keyboard.press('v');
    await second.setViewportSize(SIZES.desktop);
    await second.click('.bar [data-act=share]');
    await first.waitForSelector('.tile[data-kind=screen][data-picture]');
    await first.keyboard.press('r');
    await first.waitForSelector('#confirm[open]');
    await shoot(first, 'record-confirm');
    recorder.outcome = null;
    await first.click('#confirm [value=yes]');
    await first.waitForSelector('.bar [data-act=record][aria-pressed=true]', { state: 'attached' });
    await until(() => (recorder.chunks.get('rec-1')?.size ?? 0) > 3, { what: 'pieces of the call' });
    await first.evaluate(() => document.querySelector('#toasts')?.replaceChildren());
    await shoot(first, 'record-running');
    await second.click('.bar [data-act=share]');
    await first.waitForSelector('.tile[data-kind=screen]', { state: 'detached' });
    const before = recorder.chunks.get('rec-1')?.size ?? 0;
    await until(() => (recorder.chunks.get('rec-1')?.size ?? 0) > before + 3, { what: 'pieces without the screen' });
    recorder.acks = false;
    await first.click('.call [data-act=leave]');
    await first.waitForSelector('#after-recording[data-stage=sending]');
    await shoot(first, 'record-leaving');
    recorder.release();
    await until(() => recorder.stops.length > 0, { what: 'the stop' });
    await writeFile(path.join(folder, 'call.webm'), recorder.bytes('rec-1'));
    recorder.finish('rec-1');
    await first.waitForSelector('#after-recording[data-stage=ready]');
    await shoot(first, 'record-left');
    await disperse(...pages);
    // What the others see, as the node tells it.
    const other = await chromium.open(undefined, { viewport: SIZES.desktop });
    await other.routeWebSocket(/\/ws\?/, (route) => {
      const server = route.connectToServer();
      server.onMessage((message) => route.send(String(message).replace('"recording":false', '"recording":true')));
    });
    await enterRoom(other, `${node.url}/room/design-review`, 'Lukas');
    await other.waitForSelector('[data-badge=recording]:not([hidden])');
    await shoot(other, 'record-others');
    await disperse(other);
  },
  async library() {
    const shelf = new RecordingNode();
    const page = await chromium.open(undefined, { viewport: SIZES.desktop });
    await shelf.attach(page);
    await page.goto(`${node.url}/library`);
    await page.waitForSelector('.shelf-empty:not([hidden])');
    await shoot(page, 'library-empty');
    shelf.recordings = shelfOf(9);
    const [, , , playable] = shelf.recordings;
    shelf.chunks.set(playable.recordId, new Map([[0, await sample()]]));
    await page.goto(`${node.url}/library`);
    await page.waitForSelector('.rec[data-id]');
    await page.waitForFunction(() => [...document.querySelectorAll('.rec img[src]')].slice(0, 2).every((image) => /** @type {HTMLImageElement} */ (image).complete));
    await shoot(page, 'library');
    await page.click(`[data-id=${playable.recordId}] .rec-title a`);
    await page.waitForFunction(() => (document.querySelector('#watch video')?.readyState ?? 0) > 1);
    await page.click('#watch .result-acts button');
    await page.waitForSelector('#watch .toast');
    await shoot(page, 'library-playing');
    await page.click('#watch .result-acts button.push');
    await shoot(page, 'library-delete');
    await page.click('#confirm [value=no]');
    await page.click('#watch [data-act=close]');
    await page.click('[data-id=rec-2] .rec-title a');
    await page.waitForSelector('#watch .waiting progress');
    await shoot(page, 'library-finalising');
    await page.click('#watch [data-act=close]');
    await page.click('[data-id=rec-5] .rec-title a');
    await page.waitForSelector('#watch .note');
    await shoot(page, 'library-failed');
    await page.click('#watch [data-act=close]');
    await page.fill('#q', 'nothing like this');
    await page.waitForSelector('.shelf-empty:not([hidden])');
    await shoot(page, 'library-nothing');
    shelf.status = 503;
    await page.fill('#q', '');
    await page.waitForSelector('[data-part=problem]:not([hidden])');
    await shoot(page, 'library-unreachable');
    await disperse(page);
  },
  async status() {
    const script = new ClusterScript('node-1', 'node-2', 'node-3');
    script.node('node-2', { lease_left_ms: 6_400 });
    script.node('node-3', { lease_left_ms: 7_100 });
    const at = (/** @type {number} */ place) => `node-${1 + (place % 3)}`;
    for (const [room, from, count] of /** @type {const} */ ([['design-review', 0, 5], ['quiet-harbor-wren-402', 3, 3], ['weekly', 1, 9], ['stand-up', 7, 2]])) {
      script.rooms[room] = Object.fromEntries(Array.from({ length: count }, (_, place) => [`u${place}`, [NAMES[(from + place) % NAMES.length] ?? '', at(from + place * 2)]]));
    }
    script.locked.add('design-review');
    const page = await chromium.open(undefined, { viewport: SIZES.desktop });
    await script.attach(page);
    await page.goto(`${node.url}/status`);
    await page.waitForSelector('.node');
    await shoot(page, 'status');
    script.kill('node-2');
    await page.waitForSelector('.node[data-state=dead]');
    await shoot(page, 'status-dying');
    const back = Object.values(script.rooms.weekly ?? {}).find(([, at]) => at === 'node-2');
    if (back) [back[1], back[2]] = ['node-3', 'present'];
    await page.waitForSelector('.event:nth-child(3)');
    script.clear('node-2');
    script.node('node-3', { state: 'draining' });
    await page.waitForSelector('.node[data-state=gone]');
    await shoot(page, 'status-gone');
    script.up = false;
    await page.waitForSelector('[data-part=problem]:not([hidden])');
    await shoot(page, 'status-silent');
    await disperse(page);
    const alone = new ClusterScript('node-1');
    alone.mode = 'isolated';
    const other = await chromium.open(undefined, { viewport: SIZES.desktop });
    await alone.attach(other);
    await other.goto(`${node.url}/status`);
    await other.waitForSelector('[data-part=isolated]:not([hidden])');
    await shoot(other, 'status-isolated');
    await disperse(other);
  },
  async isolated() {
    const [first, second] = await gather('cut-off', 2);
    const other = await chromium.open(undefined, { viewport: SIZES.desktop });
    await other.routeWebSocket(/\/ws\?/, (route) => {
      const server = route.connectToServer();
      server.onMessage((message) => route.send(String(message).replace('"type":"RoomJoined"', '"type":"RoomJoined","isolated":true')));
    });
    await enterRoom(other, `${node.url}/room/cut-off`, 'Ines');
    await othersSeen(other, 2);
    await shoot(other, 'isolated');
    await disperse(other, first, second);
  },
  async recorderends() {
    const { page, recorder } = await openRecorder();
    recorder.longestMs = 1;
    await page.click('.studio-form button[type=submit]');
    await page.waitForFunction(() => Number(document.querySelector('[data-count=acked] b')?.textContent) > 3);
    await page.click('[data-act=pause]');
    await page.waitForFunction(() => document.querySelector('[data-count=acked] b')?.textContent === document.querySelector('[data-count=recorded] b')?.textContent);
    recorder.finish('rec-1');
    await page.waitForSelector('#result[data-state=ready] video');
    await shoot(page, 'recorder-too-long');
    await disperse(page);
    const { page: lost, recorder: over } = await openRecorder();
    await lost.click('.studio-form button[type=submit]');
    await lost.waitForFunction(() => Number(document.querySelector('[data-count=acked] b')?.textContent) > 3);
    await lost.click('[data-act=pause]');
    await lost.waitForFunction(() => document.querySelector('[data-count=acked] b')?.textContent === document.querySelector('[data-count=recorded] b')?.textContent);
    over.startRefusal = 'recording_over';
    over.cut();
    await lost.waitForSelector('#result[data-state=saved]');
    await shoot(lost, 'recorder-saved');
    await disperse(lost);
  },
  async recorderleftovers() {
    const { page, recorder } = await openRecorder();
    recorder.acks = false;
    await page.waitForSelector('[data-source=microphone][aria-pressed=true]');
    await page.fill('#title', 'Interview with the night shift');
    await page.click('.studio-form button[type=submit]');
    await page.waitForFunction(() => Number(document.querySelector('[data-count=stored] b')?.textContent) > 2);
    page.on('dialog', (dialog) => void dialog.accept());
    await page.reload();
    await page.waitForSelector('.leftover');
    await shoot(page, 'recorder-cut');
    const later = await page.context().newPage();
    await page.close();
    await recorder.attach(later);
    await later.goto(`${node.url}/recorder`);
    await later.waitForSelector('.leftover');
    await shoot(later, 'recorder-leftovers');
    await later.click('.leftover-acts button:last-child');
    await shoot(later, 'recorder-discard');
    await disperse(later);
  },
};

/** @returns {Promise<Buffer>} a second of video, recorded in a page */
async function sample() {
  const page = await chromium.open(`${node.url}/recorder`, { viewport: SMALL_WINDOW });
  const text = await page.evaluate(async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    const recorder = new MediaRecorder(stream);
    const data = new Promise((resolve) => recorder.addEventListener('dataavailable', (event) => resolve(/** @type {BlobEvent} */ (event).data)));
    recorder.start();
    setTimeout(() => recorder.stop(), 1500);
    const bytes = new Uint8Array(await (await data).arrayBuffer());
    return btoa(bytes.reduce((all, byte) => all + String.fromCharCode(byte), ''));
  });
  await disperse(page);
  return Buffer.from(text, 'base64');
}

/** @param {string} [query] */
async function openRecorder(query = '') {
  const recorder = new RecordingNode();
  const page = await chromium.open(undefined, { viewport: SIZES.desktop });
  await recorder.attach(page);
  await page.goto(`${node.url}/recorder${query}`);
  return { page, recorder };
}

try {
  for (const [name, state] of Object.entries(STATES)) {
    if (only.length === 0 || only.includes(name)) await state();
  }
} finally {
  await Promise.all([chromium.stop(), bare.stop()]);
  await wire.stop();
  await Promise.all([node.stop(), fullNode.stop(), rm(scratch, { recursive: true })]);
}
