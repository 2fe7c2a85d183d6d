/**
 * The recorder of the library where something is lost: acknowledgements, sockets, nodes, pages and tabs, and chunks that
 * a node refuses. What must hold whatever happens on the way: the node gets the bytes that were recorded, each once, in
 * order and under their own numbers; and what it cannot get stays in the browser.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './harness.mjs';
import {
  LIBRARY, MIB, acked, arrived, assertInOrder, assertWhole, browser, captured, counts, describeRecorder, kept, node,
  open, quiet, record, recorded, stop, told,
} from './recorder-kit.mjs';

/** Runs in a page before anything else: counts the frames with chunks that are sent when an error was told. */
function countLate() {
  window.late = 0;
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function sendCounted(data) {
    if (typeof data !== 'string' && window.told.some(({ type }) => type === 'error')) window.late += 1;
    return send.call(this, data);
  };
}

describeRecorder('the recorder, when something is lost', () => {
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

  for (const code of ['recording_too_large', 'recording_too_long']) {
    test(`stops by itself on ${code}, and what the node has becomes the video`, async () => {
      node.script.chunk = ({ index }) => (index >= 5 ? { code, error: 'no more', retryable: false } : undefined);
      const page = await open({ script: countLate });
      await record(page);
      await until(() => page.evaluate(() => window.recorder.state === 'ready'), { what: 'the video' });
      assert.deepEqual((await told(page, 'error')).map((error) => [error.code, error.fatal, error.ends, error.index]), [[code, false, true, 5]]);
      assert.deepEqual(node.recording.stops.map(({ chunks, bytes }) => [chunks, bytes]), [[5, undefined]]);
      assert.equal(await page.evaluate(() => window.recorders[0].state), 'inactive');
      assert.equal(await page.evaluate(() => window.late), 0, 'nothing is sent for nothing');
      const [left = []] = await kept(page);
      assert.ok(left.length > 0 && left.every((index) => index >= 5), `what it does not have stays here: ${left}`);
      await page.context().close();
    });
  }

  test('counts what the node took after the chunk that was too much', async () => {
    const refusal = { code: 'recording_too_large', error: 'no more', retryable: false };
    // The one after it is smaller and still fits; the refusal comes late.
    node.script.chunk = ({ index }, conn) => {
      if (index !== 4) return index < 7 ? undefined : refusal;
      setTimeout(() => conn.say({ type: 'chunkError', recordId: 'rec-0', index, ...refusal }), 500);
      return 'unstored';
    };
    const page = await open();
    await record(page);
    await until(() => page.evaluate(() => window.recorder.state === 'failed'), { what: 'the end' });
    const errors = await told(page, 'error');
    assert.deepEqual(errors.at(-1), { type: 'error', code: 'recording_too_large', message: 'no more', fatal: true, missing: [4] });
    assert.equal(node.recording.stops.at(-1).chunks, Math.max(...node.recording.chunks.keys()) + 1);
    assert.ok((await kept(page))[0]?.includes(4));
    await page.context().close();
  });

  test('sends a leftover of an earlier visit as far as the node takes it', async () => {
    node.script.start = () => 'silent';
    const context = await browser.browser.newContext();
    const page = await open({ context });
    await record(page);
    await until(async () => (await counts(page)).stored >= 6, { what: 'chunks in storage' });
    await page.close({ runBeforeUnload: false });
    delete node.script.start;
    node.script.chunk = ({ index }) => (index >= 3 ? { code: 'recording_too_long', error: 'no more', retryable: false } : undefined);
    const other = await open({ context });
    const ready = await other.evaluate(async (library) => {
      const { Leftovers } = await import(library);
      for (;;) {
        const [entry] = await Leftovers.list();
        if (entry) return Leftovers.send(entry);
      }
    }, LIBRARY);
    assert.equal(ready.complete, true);
    // The first may have been on its way before the limit was known.
    assert.equal(node.recording.stops.at(-1).chunks, 3);
    await context.close();
  });

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
    const before = await quiet(page);
    await until(async () => (await kept(page))[0]?.length === 0, { what: 'empty storage' });
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
