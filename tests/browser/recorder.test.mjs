/**
 * The recorder of the library, in a real browser with a real MediaRecorder, against a node that follows a script and
 * checks every frame that arrives: what it makes of streams, sizes, limits and kinds of storage. What must hold: the
 * node gets the bytes that were recorded, each once, in order and under their own numbers. The same where something is
 * lost on the way: `recorder_losses.test.mjs`.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './harness.mjs';
import {
  LIBRARY, MIB, acked, arrived, assertInOrder, assertWhole, browser, captured, counts, describeRecorder, kept, node,
  open, quiet, record, recorded, stop, told, watchRecorders,
} from './recorder-kit.mjs';
import { startRecordingNode } from './recording-node.mjs';

describeRecorder('the recorder', () => {
  test('brings what was recorded to the node, and leaves nothing behind', async () => {
    const page = await open();
    await record(page, { room: 'lobby', title: 'Tuesday', owner: 'ann', camera: true });
    await acked(page, 5);
    const ready = await stop(page);
    assert.equal(ready.downloadUrl, '/recordings/download/rec-0.1700000000000.webm');
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

  test('pauses and resumes within a segment', async () => {
    const page = await open();
    await record(page);
    await acked(page, 2);
    await page.evaluate(() => window.recorder.pause());
    const before = await quiet(page);
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
    const second = (await counts(page)).recorded;
    await acked(page, second + 3);
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
});
