/**
 * What the tests of the pages share: one node and one browser, and windows that are closed after each test and had
 * nothing to complain of.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe } from 'node:test';
import { skipReason, startBrowser, startNode } from './harness.mjs';

/** Of all tests of a file. @type {Awaited<ReturnType<typeof startNode>>} */
export let node;
/** Of all tests of a file. @type {Awaited<ReturnType<typeof startBrowser>>} */
export let chromium;

/**
 * Tests with the `node` and the `chromium` of this module.
 * @param {string} what
 * @param {number} timeout in milliseconds, for all of them
 * @param {() => void} tests
 */
export function describePages(what, timeout, tests) {
  describe(what, { skip: skipReason(), timeout }, () => {
    before(async () => {
      node = await startNode();
      chromium = await startBrowser();
    });
    after(async () => {
      await chromium?.stop();
      await node?.stop();
    });
    afterEach(async () => {
      await Promise.all(chromium.browser.contexts().map((context) => context.close()));
      assert.deepEqual(chromium.complaints.splice(0), [], 'errors in the console');
    });

    tests();
  });
}
