/**
 * The pages that record and show recordings, in a real browser, against a node whose recording side follows a script
 * (`page-recordings.mjs`): what people press, what they are told, and what reaches the node.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './harness.mjs';
import { FENCE, RecordingNode } from './page-recordings.mjs';
import { chromium, describePages, node } from './pages-kit.mjs';
import { READY, START, counted, plays, turn, visit } from './recording-kit.mjs';
import { disperse, enterRoom, noticed, othersSeen } from './visitors.mjs';

/** @typedef {import('playwright-core').Page} Page */

/**
 * Runs in a page: what the first picture of a recorded call shows where two people stand, and how loud it gets.
 * @param {string} url
 */
async function watchCall(url) {
  const bytes = await (await fetch(url)).arrayBuffer();
  const video = document.createElement('video');
  video.src = URL.createObjectURL(new Blob([bytes], { type: 'video/webm' }));
  video.muted = true;
  document.body.append(video);
  const frame = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
  await video.play();
  await frame;
  video.pause();
  const size = [video.videoWidth, video.videoHeight];
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d');
  if (!context) throw new Error('no canvas');
  context.drawImage(video, 0, 0);
  const greens = [0.08, 0.58].map((part) => context.getImageData(video.videoWidth * part, video.videoHeight * 0.3, 1, 1).data[1] ?? 0);
  const sound = await new AudioContext().decodeAudioData(bytes);
  const loudest = sound.getChannelData(0).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  return { size, greens, loudest };
}

describePages('pages that record', 600_000, () => {
  /** Refusals that a test provokes are written to the console by the browser itself. */
  const forgive = (/** @type {string} */ what) => chromium.complaints.splice(0, Infinity, ...chromium.complaints.filter((line) => !line.includes(what)));

  test('screen, camera and microphone become one recording that plays, with its title and room', async () => {
    const { page, recorder } = await visit('/recorder?room=design-review', { acceptDownloads: true });
    await turn(page, 'microphone', false);
    await page.locator(`${START}:disabled`).waitFor();
    for (const source of ['screen', 'camera', 'microphone']) await turn(page, source);
    await page.locator('.corners label:nth-of-type(1)').click();
    await page.fill('#title', 'How the invoice works');
    await page.press('#title', 'Enter');
    await counted(page, 'acked', 3);
    assert.match(await page.innerText('[data-part=connection]'), /safe on the server/);
    assert.match(await page.title(), /^● 0:0\d/);
    assert.equal(await page.evaluate(() => document.activeElement?.id), 'running-title', 'the focus goes where things happen');

    await page.click('[data-act=pause]');
    const time = await page.innerText('[data-part=time]');
    const recorded = recorder.chunks.get('rec-1')?.size;
    await page.locator('[data-part=state]', { hasText: 'Paused' }).waitFor();
    await page.locator('[data-act=pause]', { hasText: 'Resume' }).click();
    await until(async () => (await page.innerText('[data-part=time]')) !== time, { what: 'the time goes on' });
    await until(() => (recorder.chunks.get('rec-1')?.size ?? 0) > Number(recorded), { what: 'more pieces after the pause' });

    recorder.outcome = null;
    await page.click('[data-act=stop]');
    await page.waitForSelector('#result[data-state=finalising]');
    recorder.progress('rec-1', 42);
    await until(() => page.evaluate(() => document.querySelector('progress')?.value === 42), { what: 'the progress' });
    recorder.finish('rec-1');
    await page.waitForSelector(READY);
    assert.equal(await page.innerText('#result-title'), 'How the invoice works');
    assert.equal(await plays(page, '#result video'), true);
    assert.deepEqual([recorder.starts[0].title, recorder.starts[0].roomName], ['How the invoice works', 'design-review']);
    assert.deepEqual(recorder.segments.get('rec-1'), [0], 'one segment');
    assert.equal(recorder.stops[0].chunks, recorder.chunks.get('rec-1')?.size);
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#result a[download]')]);
    assert.match(download.suggestedFilename(), /\.webm$/);
    await page.click('text=Record again');
    await page.locator('.studio-head').waitFor();
    assert.equal(await page.inputValue('#title'), '');
  });

  test('the screen stays on while it records, also after the page was hidden, and no longer', async () => {
    const { page } = await visit('/recorder');
    await page.evaluate(() => {
      window.awake = 0;
      const request = async (/** @type {string} */ what) => {
        if (what === 'screen') window.awake++;
        return { release: async () => { window.awake--; } };
      };
      Object.defineProperty(navigator, 'wakeLock', { value: { request } });
    });
    const awake = () => page.evaluate(() => window.awake);
    await turn(page, 'microphone');
    assert.equal(await awake(), 0);
    await page.click(START);
    await until(async () => (await awake()) === 1, { what: 'the screen is kept on' });
    // As browsers do: a hidden page loses it, and is told when it is back.
    await page.evaluate(() => { window.awake = 0; document.dispatchEvent(new Event('visibilitychange')); });
    await until(async () => (await awake()) === 1, { what: 'the screen is kept on again' });
    await counted(page, 'acked', 1);
    await page.click('[data-act=stop]');
    await page.waitForSelector(READY);
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    assert.equal(await awake(), 0);
  });

  test('another screen is a new segment, another microphone is none; the end of sharing is said', async () => {
    const { page, recorder } = await visit('/recorder');
    await turn(page, 'microphone');
    await turn(page, 'screen');
    await page.click(START);
    await counted(page, 'acked', 2);
    await page.click('.another');
    await until(() => (recorder.segments.get('rec-1')?.length ?? 0) === 2, { what: 'a second segment' });
    await page.click('[data-part=devices] summary');
    await page.selectOption('#microphone', { index: 1 });
    const now = Number(await page.innerText('[data-count=acked] b'));
    await counted(page, 'acked', now + 2);
    assert.equal(recorder.segments.get('rec-1')?.length, 2, 'the mix stays when the microphone changes');

    // As the bar of the browser does it.
    await page.evaluate(() => /** @type {HTMLVideoElement} */ (document.querySelector('.stage-box video')).srcObject?.getVideoTracks()[0]?.dispatchEvent(new Event('ended')));
    await page.locator('.toast', { hasText: 'You stopped sharing the screen; the recording goes on with the microphone.' }).waitFor();
    await until(() => (recorder.segments.get('rec-1')?.length ?? 0) === 3, { what: 'a segment without the screen' });
    await page.locator('[data-source=microphone]:disabled').waitFor();
    await counted(page, 'acked', now + 4);
    await page.click('[data-act=stop]');
    await page.waitForSelector(READY);
  });

  test('when the only source ends, the recording ends and is kept', async () => {
    const { page } = await visit('/recorder');
    await turn(page, 'microphone', false);
    await turn(page, 'screen');
    await page.click(START);
    await counted(page, 'acked', 2);
    await page.evaluate(() => {
      const stream = /** @type {MediaStream} */ (/** @type {HTMLVideoElement} */ (document.querySelector('.stage-box video')).srcObject);
      for (const track of stream.getTracks()) track.dispatchEvent(new Event('ended'));
    });
    await page.locator('.toast', { hasText: 'Nothing was left to record, so the recording ended.' }).waitFor();
    await page.waitForSelector(READY);
  });

  test('a lost network is said and nothing is lost', async () => {
    const { page, recorder } = await visit('/recorder');
    await turn(page, 'microphone');
    await page.click(START);
    await counted(page, 'acked', 1);
    recorder.up = false;
    recorder.cut();
    await page.locator('.delivery[data-tone=warning]', { hasText: 'does not answer' }).waitFor();
    const lost = Number(await page.innerText('[data-count=recorded] b'));
    await counted(page, 'stored', lost + 2);
    await page.click('[data-act=stop]');
    await page.locator('#result[data-state=sending]', { hasText: 'cannot be reached' }).waitFor();
    recorder.up = true;
    await page.waitForSelector(READY, { timeout: 60_000 });
    const indices = [...(recorder.chunks.get('rec-1')?.keys() ?? [])].sort((one, other) => one - other);
    assert.deepEqual(indices, Array.from(indices, (_, place) => place), 'every piece is there');
    forgive('WebSocket');
  });

  test('leaving is asked back, and who stays goes on; after a reload the same recording goes on', async () => {
    const { page, recorder } = await visit('/recorder');
    await turn(page, 'microphone');
    await turn(page, 'screen');
    await page.fill('#title', 'Cut in two');
    await page.click(START);
    await counted(page, 'acked', 1);
    let asked = 0;
    page.on('dialog', (dialog) => void ((asked += 1) === 1 ? dialog.dismiss() : dialog.accept()));
    await page.goto(`${node.url}/library`).catch(() => {});
    assert.equal(asked, 1);
    const before = recorder.chunks.get('rec-1')?.size ?? 0;
    await counted(page, 'acked', before + 2);

    recorder.acks = false;
    await counted(page, 'stored', before + 4);
    await page.reload();
    assert.equal(asked, 2);
    recorder.acks = true;
    await page.locator('.leftover', { hasText: '“Cut in two” is kept' }).waitFor();
    await page.click('text=Go on recording');
    await until(() => (recorder.segments.get('rec-1')?.length ?? 0) === 2, { what: 'a second segment of the same recording' });
    assert.equal(recorder.recordings.length, 1);
    assert.equal(await page.getAttribute('[data-source=screen]', 'aria-pressed'), 'true', 'what was recorded is recorded again');
    await page.click('[data-act=stop]');
    await page.waitForSelector(READY);
    const indices = [...(recorder.chunks.get('rec-1')?.keys() ?? [])].sort((one, other) => one - other);
    assert.deepEqual(indices, Array.from(indices, (_, place) => place), 'every piece is there');
  });

  test('what an earlier visit left is sent by itself, or saved or discarded by whoever wants that', async () => {
    const { page, recorder } = await visit('/recorder', { acceptDownloads: true });
    const leave = async (/** @type {Page} */ tab, /** @type {string} */ title) => {
      await turn(tab, 'microphone');
      await tab.fill('#title', title);
      await tab.click(START);
      await counted(tab, 'stored', 2);
      await tab.close();
    };
    const come = async () => {
      const next = await page.context().newPage();
      await recorder.attach(next);
      await next.goto(`${node.url}/recorder`);
      return next;
    };
    recorder.acks = false;
    await leave(page, 'First try');
    // The node still says nothing, so it is being sent for as long as it takes.
    const second = await come();
    const row = second.locator('.leftover', { hasText: 'First try' });
    await row.locator('progress').waitFor();
    await row.locator('text=Not now').click();
    const [download] = await Promise.all([second.waitForEvent('download'), row.locator('text=Download').click()]);
    assert.equal(download.suggestedFilename(), 'First try.webm');
    await row.locator('text=Discard').click();
    await second.click('#confirm [value=no]');
    assert.equal(await row.count(), 1, 'Cancel keeps it');
    await row.locator('text=Discard').click();
    await second.click('#confirm [value=yes]');
    await row.waitFor({ state: 'detached' });

    await leave(second, 'Second try');
    recorder.acks = true;
    const third = await come();
    await third.locator('.toast', { hasText: '“Second try” is in the library.' }).waitFor();
    await third.locator('#leftovers').waitFor({ state: 'hidden' });
    assert.equal(recorder.find('rec-2')?.state, 'ready');
    await third.reload();
    await third.waitForSelector('[data-source=microphone][aria-pressed=true]');
    assert.equal(await third.locator('.leftover').count(), 0, 'gone for good');
  });

  test('refused devices, a storage nearly full and a failed merge are explained', async () => {
    const { page, recorder } = await visit('/recorder', { permissions: [] });
    await page.evaluate(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('Permission denied', 'NotAllowedError'));
      navigator.permissions.query = async () => /** @type {any} */ ({ state: 'denied' });
      navigator.mediaDevices.getDisplayMedia = () => Promise.reject(new DOMException('no', 'NotReadableError'));
    });
    await page.click('[data-source=camera]');
    await page.locator('.note', { hasText: 'Camera is blocked' }).waitFor();
    await page.click('[data-source=screen]');
    await page.locator('.toast', { hasText: 'The screen could not be shared.' }).waitFor();
    await disperse(page);

    const tab = await chromium.open(undefined, { acceptDownloads: true });
    await recorder.attach(tab);
    recorder.outcome = 'failed';
    await tab.addInitScript(() => { navigator.storage.estimate = async () => ({ usage: 950_000_000, quota: 1_000_000_000 }); });
    await tab.goto(`${node.url}/recorder`);
    await turn(tab, 'microphone');
    await tab.click(START);
    await tab.locator('.note', { hasText: 'storage is nearly full' }).waitFor();
    await counted(tab, 'acked', 1);
    await tab.click('[data-act=stop]');
    await tab.locator('#result[data-state=failed]', { hasText: 'could not put them together' }).waitFor();
    recorder.refusal = 'not_media';
    await tab.click('text=Record again');
    await turn(tab, 'microphone');
    await tab.click(START);
    await tab.locator('#result[data-state=failed]', { hasText: 'does not recognise what this browser records' }).waitFor();
    const [saved] = await Promise.all([tab.waitForEvent('download'), tab.click('text=Download what is left')]);
    assert.match(saved.suggestedFilename(), /\.webm$/);
  });

  test('the library lists, searches, pages, plays, deletes and follows what changes', async () => {
    const { page: maker, recorder } = await visit('/recorder');
    await turn(maker, 'camera');
    await maker.fill('#title', 'A sample');
    await maker.click(START);
    await counted(maker, 'acked', 2);
    await maker.click('[data-act=stop]');
    await maker.waitForSelector(READY);
    const old = Array.from({ length: 30 }, (_, place) => ({ ...recorder.find('rec-1'), recordId: `old-${place}`, title: `Meeting ${place}`, startedAt: '2026-01-02T03:04:05Z' }));
    const gappy = { ...recorder.find('rec-1'), recordId: 'gappy', title: 'With a hole', complete: false, gaps: [{ fromMs: 1000, toMs: 3000, chunks: [1, 2] }] };
    const failed = { recordId: 'lost', state: 'failed', title: null, roomName: 'attic', startedAt: '2026-01-02T03:04:05Z', error: { code: 'merge_failed', message: '' }, gaps: null, complete: null };
    const short = { ...recorder.find('rec-1'), recordId: 'short', title: 'Without its end', complete: false, gaps: null };
    recorder.recordings.push(gappy, short, failed, ...old);

    const page = await chromium.open(undefined, { viewport: { width: 1000, height: 500 } });
    await recorder.attach(page);
    await page.goto(`${node.url}/library`);
    await page.locator('.rec[data-id=gappy]', { hasText: '2 seconds missing from 0:01.' }).waitFor();
    await page.locator('.rec[data-id=short]', { hasText: 'Something at the end is missing.' }).waitFor();
    await page.locator('.rec[data-id=lost]', { hasText: 'Call in attic' }).waitFor();
    await page.locator('.rec[data-id=lost]', { hasText: 'could not be put together' }).waitFor();
    await page.locator('[data-act=more]').scrollIntoViewIfNeeded();
    await until(async () => (await page.locator('.rec').count()) === 34, { what: 'the rest, when scrolled to' });

    await page.fill('#q', 'hole');
    await until(async () => (await page.locator('.rec').count()) === 1, { what: 'one found' });
    await page.selectOption('#state', 'failed');
    await page.locator('.shelf-empty', { hasText: 'Nothing found' }).waitFor();
    assert.match(page.url(), /q=hole&state=failed/);
    await page.click('text=Show all recordings');
    await page.click('[data-id=gappy] .rec-title a');
    assert.match(page.url(), /recording=gappy/);
    await page.locator('#watch button', { hasText: '2 seconds missing from 0:01 to 0:03' }).waitFor();
    recorder.chunks.set('gappy', /** @type {any} */ (recorder.chunks.get('rec-1')));
    await page.keyboard.press('Escape');
    await page.locator('#watch').waitFor({ state: 'hidden' });
    await until(() => !page.url().includes('recording='), { what: 'the address of the list again' });

    await page.click('[data-id=old-0] button[aria-label^=Delete]');
    await page.click('#confirm [value=yes]');
    await page.locator('[data-id=old-0]').waitFor({ state: 'detached' });
    assert.equal(recorder.find('old-0'), undefined);

    recorder.recordings.unshift({ recordId: 'fresh', state: 'recording', title: 'Going on', startedAt: new Date().toISOString() });
    await page.reload();
    await page.locator('.rec[data-id=fresh]', { hasText: 'Recording now' }).waitFor();
    await page.click('[data-id=fresh] .rec-title a');
    Object.assign(recorder.find('fresh'), { state: 'finalising', percent: 30 });
    await page.locator('#watch', { hasText: 'putting it together' }).waitFor();
    recorder.chunks.set('fresh', /** @type {any} */ (recorder.chunks.get('rec-1')));
    Object.assign(recorder.find('fresh'), { state: 'ready', complete: true, downloadUrl: `/recordings/download/fresh.${FENCE}.webm`, mimeType: 'video/webm' });
    await page.locator('#watch video').waitFor();
    assert.equal(await plays(page, '#watch video'), true);
    forgive('404');
  });

  test('a recording that is no MP4 can be downloaded as one, and the page says how far it is', async () => {
    const { page, recorder } = await visit('/library?recording=nothing', { acceptDownloads: true });
    const of = (/** @type {string} */ id, /** @type {string} */ end) => ({ recordId: id, state: 'ready', title: id, complete: true, mimeType: `video/${end}`, downloadUrl: `/recordings/download/${id}.${FENCE}.${end}` });
    recorder.recordings.push(of('talk', 'webm'), of('phone', 'mp4'));
    await page.goto(`${node.url}/library?recording=phone`);
    await page.locator('#watch a', { hasText: 'Download' }).waitFor();
    assert.equal(await page.locator('#watch [data-act=mp4]').count(), 0, 'it is one');

    await page.goto(`${node.url}/library?recording=talk`);
    const button = page.locator('#watch [data-act=mp4]');
    recorder.mp4s.push('export_failed', 0, 40, 80);
    await button.click();
    await page.locator('#watch .toast', { hasText: 'It could not be made.' }).waitFor();
    const download = page.waitForEvent('download');
    await button.click();
    await page.locator('#watch [data-act=mp4]:disabled', { hasText: '40 %' }).waitFor();
    assert.equal(await page.locator('#watch .result-acts progress').evaluate((/** @type {HTMLProgressElement} */ bar) => bar.value), 40);
    assert.match((await download).url(), /\/recordings\/download\/talk\.\d+\.webm\?format=mp4$/);
    await page.locator('#watch [data-act=mp4]:enabled', { hasText: 'Download as MP4' }).waitFor();
    assert.equal(await page.locator('#watch .result-acts progress').isVisible(), false);
    forgive('404');
    forgive('503');
  });

  test('a link opens its recording, a wrong one says so, and a server without an answer too', async () => {
    const { page, recorder } = await visit('/library?recording=nothing');
    await page.locator('#watch', { hasText: 'This recording is not here' }).waitFor();
    await page.click('#watch [data-act=close]');
    await page.locator('.shelf-empty', { hasText: 'No recordings yet' }).waitFor();
    recorder.recordings.push({ recordId: 'one', state: 'finalising', title: 'By link', percent: 10 });
    await page.goto(`${node.url}/library?recording=one`);
    await page.locator('#watch h2', { hasText: 'By link' }).waitFor();
    recorder.status = 503;
    await page.goto(`${node.url}/library`);
    await page.locator('[data-part=problem]', { hasText: 'could not be loaded' }).waitFor();
    recorder.status = null;
    await page.click('[data-act=again]');
    await page.locator('.rec[data-id=one]').waitFor();
    forgive('404');
    forgive('503');
  });

  test('a call is recorded as it is seen: asked, shown, stopped by leaving, linked', async () => {
    const [ada, bob] = [await chromium.open(), await chromium.open()];
    const recorder = new RecordingNode();
    await recorder.attach(ada);
    await enterRoom(ada, `${node.url}/room/recorded`, 'Ada');
    await enterRoom(bob, `${node.url}/room/recorded`, 'Bob');
    await othersSeen(ada, 1);
    await ada.keyboard.press('m');
    await ada.keyboard.press('r');
    await ada.locator('#confirm', { hasText: 'Everyone in the call will see that it is recorded' }).waitFor();
    await ada.click('#confirm [value=no]');
    await ada.locator('#confirm').waitFor({ state: 'hidden' });
    assert.equal(recorder.starts.length, 0, 'nothing without a yes');
    await ada.click('.bar [data-act=record]');
    await ada.click('#confirm [value=yes]');
    await until(() => (recorder.chunks.get('rec-1')?.size ?? 0) > 2, { what: 'pieces of the call' });
    assert.equal(recorder.starts[0].roomName, 'recorded');
    await ada.locator('.bar [data-act=record][aria-label="Stop recording"]', { hasText: /0:0\d/ }).waitFor();
    await ada.locator('[data-badge=recording]', { hasText: 'Recording' }).waitFor();

    await bob.click('button[data-panel=people]');
    await bob.locator('.roster-row', { hasText: 'Records the call' }).waitFor();
    await bob.click('.bar [data-act=leave]');
    await othersSeen(ada, 0);
    const alone = recorder.chunks.get('rec-1')?.size ?? 0;
    await until(() => (recorder.chunks.get('rec-1')?.size ?? 0) > alone + 1, { what: 'pieces after somebody left' });
    assert.deepEqual(recorder.segments.get('rec-1'), [0], 'people come and go within one segment');
    await ada.click('.bar [data-act=leave]');
    await noticed(ada, 'left');
    await ada.locator('#after-recording[data-stage=ready]', { hasText: 'in the library' }).waitFor();
    assert.match(String(await ada.getAttribute('#after-recording a', 'href')), /\/library\?recording=rec-1$/);
    const { size, greens, loudest } = await ada.evaluate(watchCall, `/recordings/download/rec-1.${FENCE}.webm`);
    assert.deepEqual(size, [1280, 720]);
    assert.ok(greens.every((green) => green > 60), `both people are in the picture: ${greens}`);
    assert.ok(loudest > 0.02, `the voice of the other is in the sound: ${loudest}`);
  });

  test('everyone is told that a recording runs and that it ended', async () => {
    const bob = await chromium.open();
    /** @type {import('playwright-core').WebSocketRoute | undefined} */
    let socket;
    let recording = true;
    await bob.routeWebSocket('**/ws?*', (route) => {
      socket = route;
      const server = route.connectToServer();
      server.onMessage((message) => route.send(String(message).replace(/"recording":(true|false)/, `"recording":${recording}`)));
    });
    await enterRoom(bob, `${node.url}/room/told`, 'Bob');
    await bob.locator('.toast', { hasText: 'This call is being recorded.' }).waitFor();
    await bob.locator('[aria-live] [data-badge=recording]').waitFor();
    recording = false;
    await bob.click('button[popovertarget=more-menu]');
    await bob.click('#more-menu [data-act=lock]');
    await bob.locator('.toast', { hasText: 'Nobody records this call any more.' }).waitFor();
    await bob.locator('[data-badge=recording]').waitFor({ state: 'hidden' });
    assert.ok(socket);
  });

  test('nothing scrolls sideways at 360 pixels, and what is pressed is large enough', async () => {
    const { page, recorder } = await visit('/recorder', { viewport: { width: 360, height: 640 } });
    const fits = async (/** @type {string} */ what) => {
      const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(excess <= 0, `${what} is ${excess} pixels too wide`);
      for (const control of await page.locator('main button:visible, main a:visible, main summary:visible, dialog[open] button:visible').all()) {
        if (!(await control.isVisible()) || (await control.getAttribute('tabindex')) === '-1') continue;
        const box = await control.boundingBox();
        const inText = await control.evaluate((node) => node.closest('.rec-title') !== null);
        assert.ok(box && (inText || box.height >= 44), `${what}: “${await control.innerText()}” is ${box?.height} pixels high`);
      }
    };
    await turn(page, 'microphone');
    await turn(page, 'screen');
    await turn(page, 'camera');
    await page.fill('#title', 'W'.repeat(64));
    await fits('the recorder');
    await page.click(START);
    await counted(page, 'acked', 1);
    await fits('the recording');
    await page.click('[data-act=stop]');
    await page.waitForSelector(READY);
    await fits('the result');
    Object.assign(recorder.find('rec-1'), { complete: false, gaps: [{ fromMs: 3_600_000, toMs: 3_725_000 }] });
    await page.goto(`${node.url}/library`);
    await page.locator('.rec[data-id=rec-1]').waitFor();
    await fits('the library');
    await page.click('[data-id=rec-1] .rec-title a');
    await page.locator('#watch .gap-list').waitFor();
    await fits('the player');
  });
});
