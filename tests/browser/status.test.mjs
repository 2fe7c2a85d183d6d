/**
 * The status page, against a cluster that follows a script: what an operator sees of nodes that come, die and go.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './harness.mjs';
import { ClusterScript } from './page-cluster.mjs';
import { chromium, describePages, node } from './pages-kit.mjs';
import { enterRoom } from './visitors.mjs';

/** @typedef {import('playwright-core').Page} Page */

describePages('the status page', 240_000, () => {
  /** @param {ClusterScript} script @param {import('playwright-core').BrowserContextOptions} [options] */
  const watch = async (script, options) => {
    const page = await chromium.open(undefined, options);
    await script.attach(page);
    await page.goto(`${node.url}/status`);
    await page.waitForSelector('.node');
    return page;
  };

  const three = () => {
    const script = new ClusterScript('node-1', 'node-2', 'node-10');
    script.rooms = {
      weekly: { u1: ['Ada', 'node-1'], u2: ['Bob', 'node-2'], u3: ['Carl', 'node-10'] },
      'stand-up': { u4: ['Dora', 'node-2'] },
    };
    return script;
  };

  /** Who stands below which node, by room. @param {Page} page */
  const placed = (page) => page.evaluate(() => {
    const columns = [...document.querySelectorAll('.board-head .node .node-name bdi')].map(({ textContent }) => textContent);
    return Object.fromEntries([...document.querySelectorAll('.board-room')].map((row) => [
      row.querySelector('.room-name bdi')?.textContent,
      Object.fromEntries([...row.querySelectorAll('.cell')].map((cell, place) => [columns[place], [...cell.querySelectorAll('.chip')].map((chip) => chip.textContent)])),
    ]));
  });

  /** Lines of the log, the newest moment first. @param {Page} page */
  const log = (page) => page.locator('[role=log] p').allTextContents();
  /** @param {Page} page @param {string} text */
  const logged = (page, text) => page.locator('[role=log] li', { hasText: text }).first().waitFor();
  /** @param {Page} page @param {string} id */
  const stateOf = (page, id) => page.locator('.node', { has: page.getByText(id, { exact: true }) }).locator('.badge').innerText();

  test('shows each participant at its node, in an order that people expect', async () => {
    const script = three();
    script.locked.add('weekly');
    const page = await watch(script);
    assert.deepEqual(await placed(page), {
      'stand-up': { 'node-1': [], 'node-2': ['Dora'], 'node-10': [] },
      weekly: { 'node-1': ['Ada'], 'node-2': ['Bob'], 'node-10': ['Carl'] },
    });
    assert.deepEqual(await page.locator('.sums dd').allTextContents(), ['3 of 3', '2', '4']);
    assert.equal(await stateOf(page, 'node-2'), 'Live');
    assert.deepEqual(await page.locator('.board-room', { has: page.locator('.room-lock:visible') }).locator('.room-name bdi').allTextContents(), ['weekly']);
    assert.deepEqual(await page.getByRole('columnheader').count(), 4);
    assert.deepEqual(await page.getByRole('rowheader').allInnerTexts().then((texts) => texts.map((text) => text.split('\n')[0])), ['stand-up', 'weekly']);
    assert.equal(await page.locator('[role=log] li').count(), 0, 'the first picture is no news');
  });

  test('a node is seen to die, its participants suspect, then gone or elsewhere', async () => {
    const script = three();
    const page = await watch(script);
    const ada = page.locator('.chip', { hasText: 'Ada' });
    await ada.evaluate((chip) => chip.setAttribute('data-same', ''));
    script.kill('node-2');
    await logged(page, 'node-2 is dead: its lease has run out.');
    assert.equal(await stateOf(page, 'node-2'), 'Dead');
    assert.deepEqual((await placed(page)).weekly?.['node-2'], ['Bobsuspect']);

    const bob = script.rooms.weekly?.u2;
    if (bob) [bob[1], bob[2]] = ['node-1', 'present'];
    await logged(page, 'Bob in room weekly moved from node-2 to node-1.');
    script.clear('node-2');
    await logged(page, 'Dora in room stand-up did not come back in time and left at node-2.');
    assert.equal(await stateOf(page, 'node-2'), 'Gone', 'it is still shown for a moment');
    assert.deepEqual(await placed(page), { weekly: { 'node-1': ['Ada', 'Bob'], 'node-2': [], 'node-10': ['Carl'] } });
    script.node('node-2', { incarnation: 1_763_733_700_000 });
    await logged(page, 'node-2 has come.');
    script.node('node-2', { incarnation: 1_763_733_800_000 });
    await logged(page, 'node-2 has begun a new life.');
    assert.deepEqual(await log(page), [
      'node-2 has begun a new life.',
      'node-2 has come.',
      'node-2 has been cleared away.', 'Dora in room stand-up did not come back in time and left at node-2.',
      'Bob in room weekly moved from node-2 to node-1.',
      'node-2 is dead: its lease has run out.', 'Bob in room weekly became suspect at node-2.', 'Dora in room stand-up became suspect at node-2.',
    ]);
    assert.equal(await page.locator('.chip[data-same]', { hasText: 'Ada' }).count(), 1, 'what stays is not drawn anew');
  });

  test('tells a node that stopped from one that died, also where neither was seen', async () => {
    const script = new ClusterScript('node-1', 'node-2', 'node-3', 'node-4');
    const page = await watch(script);
    script.node('node-2', { state: 'draining' });
    script.node('node-3', { lease_left_ms: 1_200 });
    await logged(page, 'node-2 is draining: its participants move to other nodes.');
    for (const id of ['node-2', 'node-3', 'node-4']) script.clear(id);
    await logged(page, 'node-4');
    assert.deepEqual((await log(page)).slice(0, 3), ['node-2 has stopped.', 'node-3 is dead: its lease has run out.', 'node-4 is gone.']);
  });

  test('many changes of one kind make one line', async () => {
    const script = three();
    for (let number = 0; number < 40; number += 1) script.rooms[`room-${number % 4}`] = { ...script.rooms[`room-${number % 4}`], [`x${number}`]: [`Guest ${number}`, 'node-2'] };
    const page = await watch(script);
    script.kill('node-2');
    await logged(page, '42 participants in 6 rooms became suspect at node-2.');
    assert.equal(await page.locator('[role=log] li').count(), 2);
    assert.deepEqual(await page.locator('[role=log]').getAttribute('aria-live'), 'polite');
  });

  test('says when its node does not answer, and goes on when it does', async () => {
    const script = three();
    const page = await watch(script);
    script.up = false;
    await page.getByRole('alert').getByText('The node does not answer. This is how it was at').waitFor();
    assert.equal((await placed(page)).weekly?.['node-1']?.[0], 'Ada', 'the last picture stays');
    script.up = true;
    await page.getByRole('alert').waitFor({ state: 'hidden' });
    assert.deepEqual(await log(page), ['node-1 answers again.', 'The node that this page asks does not answer.']);
    chromium.complaints.splice(0, Infinity, ...chromium.complaints.filter((line) => !line.includes('ERR_FAILED')));
  });

  test('asks nobody while nobody looks', async () => {
    const script = three();
    const page = await watch(script);
    const hide = (/** @type {boolean} */ hidden) => page.evaluate((now) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => now });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await until(() => script.asked >= 2, { what: 'a second look' });
    await hide(true);
    const asked = script.asked;
    await page.evaluate(() => new Promise((done) => { setTimeout(done, 2_500); }));
    assert.equal(script.asked, asked);
    await hide(false);
    await until(() => script.asked > asked, { what: 'a look at once', timeoutMs: 900 });
  });

  test('names that are markup are text', async () => {
    const script = new ClusterScript('node-1');
    const name = '<img src=x onerror=alert(1)>';
    const page = await watch(script);
    script.rooms.weekly = { u1: [name, 'node-1'] };
    await logged(page, name);
    assert.equal(await page.locator('.chip bdi').textContent(), name);
    assert.equal(await page.locator('img[src=x]').count(), 0);
  });

  test('a node without a cluster shows itself', async () => {
    const page = await chromium.open(`${node.url}/status`);
    await page.getByText('This node runs alone, without a cluster.').waitFor();
    assert.equal(await page.locator('.node').count(), 1);
    assert.doesNotMatch(await page.locator('.node').innerText(), /lease/i);
    const ada = await chromium.open();
    await enterRoom(ada, `${node.url}/room/alone`, 'Ada');
    await logged(page, 'Ada in room alone joined');
    await page.locator('.chip', { hasText: 'Ada' }).waitFor();
  });

  test('tells an isolated node, a node that is alone, and more rooms than are shown', async () => {
    const script = three();
    script.mode = 'isolated';
    const page = await watch(script);
    await page.getByText('This node is isolated').waitFor();
    script.mode = 'local';
    script.truncated = true;
    await page.getByText('This node runs alone').waitFor();
    await page.getByText('This node is isolated').waitFor({ state: 'hidden' });
    await page.getByText('There are more rooms than these 2.').waitFor();
    delete script.rooms['stand-up'];
    await until(async () => Object.keys(await placed(page)).length === 1, { what: 'one room' });
    assert.deepEqual(await log(page), [], 'who did not fit has not left');
  });

  test('on a phone each room says who is where, and nothing is wider than the window', async () => {
    const script = three();
    script.rooms.weekly = { ...script.rooms.weekly, u9: ['A very long name that goes on and on and on and on, nearly', 'node-2'] };
    script.rooms['x'.repeat(64)] = { u8: ['W'.repeat(60), 'node-10'] };
    const page = await watch(script, { viewport: { width: 360, height: 640 } });
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(excess <= 0, `${excess} pixels too wide`);
    const inner = await page.locator('.board-frame').evaluate((frame) => frame.scrollWidth - frame.clientWidth);
    assert.ok(inner <= 0, `the board is ${inner} pixels too wide`);
    assert.deepEqual(await page.locator('.board-room', { hasText: 'stand-up' }).locator('.cell-node:visible').allTextContents(), ['node-2']);
  });

  test('is found from the landing page, and its board by keyboard', async () => {
    const script = new ClusterScript(...Array.from({ length: 9 }, (_, place) => `node-${place + 1}`));
    const page = await chromium.open(undefined, { viewport: { width: 1000, height: 700 } });
    await script.attach(page);
    await page.goto(node.url);
    await page.getByRole('link', { name: 'Status of this server' }).click();
    await page.waitForSelector('.node');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
    await until(async () => {
      await page.keyboard.press('Tab');
      return page.evaluate(() => document.activeElement?.matches('.board-frame'));
    }, { what: 'the board reached by Tab', everyMs: 0 });
    await page.keyboard.press('ArrowRight');
    await until(() => page.locator('.board-frame').evaluate((frame) => frame.scrollLeft > 0), { what: 'the board scrolled' });
  });
});
