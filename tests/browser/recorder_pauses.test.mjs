/**
 * The recorder of the library in a pause: what was recorded before it is on the node, also when the node ends the recording
 * meanwhile, because its longest time is over.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './harness.mjs';
import { acked, assertWhole, counts, describeRecorder, node, open, quiet, record, stop, told } from './recorder-kit.mjs';

describeRecorder('the recorder, in a pause', () => {
  for (const [what, maxDurationMs, code] of /** @type {const} */ ([['its longest time is over', 1, 'recording_too_long'], ['somebody else ends it', undefined, 'recording_over']])) {
    test(`is ready when ${what} in a pause, as the node has everything`, async () => {
      node.script.limits = { maxDurationMs };
      const page = await open();
      await record(page);
      await acked(page, 4);
      await page.evaluate(() => window.recorder.pause());
      await quiet(page);
      const [conn] = node.connections;
      conn?.say({ type: 'mergeProgress', recordId: 'rec-0', percent: 50 }, conn.ready());
      await until(() => page.evaluate(() => window.recorder.state === 'ready'), { what: 'the end' });
      assert.deepEqual((await told(page, 'error')).map((error) => [error.code, error.fatal, error.ends]), [[code, false, true]]);
      assert.equal((await told(page, 'recordingReady')).length, 1);
      assert.equal((await stop(page)).complete, true);
      assert.deepEqual(node.recording.stops, [], 'nothing is asked of a node that is through');
      assert.equal(await page.evaluate(() => window.recorders[0].state), 'inactive');
      await page.context().close();
    });
  }

  test('hands over what was recorded before a pause', async () => {
    const page = await open();
    await record(page, { timesliceMs: 60_000 });
    await until(async () => {
      await page.evaluate(() => window.recorder.resume());
      await page.evaluate(() => window.recorder.pause());
      return (await counts(page)).acked > 0;
    }, { what: 'a chunk long before its time' });
    await stop(page);
    await assertWhole(page);
    await page.context().close();
  });
});
