/**
 * A call over three nodes behind nginx, and one node of it dies. The pictures go from browser to browser; what has to
 * survive is everything that keeps a call together, and nobody may see anybody leave.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { clusterSkipReason, startCluster } from './cluster-kit.mjs';
import { startBrowser, until } from './harness.mjs';
import { SMALL_WINDOW, enterRoom, inCall, othersSeen, say } from './visitors.mjs';

/** @typedef {import('playwright-core').Page} Page */

/** Within this a picture must move again. */
const STILL_MAX_MS = 10_000;
/** A lease of 8 s runs out, and then a way back is found. */
const BACK_MS = 40_000;
/** Two cores carry three browsers and three nodes, and perhaps other work. */
const BUSY_MS = 60_000;

describe('a call in a cluster', { skip: clusterSkipReason(), timeout: 600_000 }, () => {
  /** @typedef {Awaited<ReturnType<typeof startCluster>>} Cluster */
  /** @type {Cluster} */
  let cluster;
  /** @type {Awaited<ReturnType<typeof startBrowser>>} */
  let chromium;
  before(async () => {
    cluster = await startCluster();
    chromium = await startBrowser();
  });
  after(async () => {
    await chromium?.stop();
    await cluster?.stop();
  });

  /** The node that has the session of this window. @param {Page} page @returns {Promise<string>} */
  const nodeOf = async (page) => {
    const { room, id } = await page.evaluate(() => ({ room: location.pathname.split('/').pop(), id: window.greenroomCall?.me?.userId }));
    return until(async () => {
      const { rooms } = await cluster.picture();
      const here = rooms.find((/** @type {any} */ one) => one.room_name === room)?.participants ?? [];
      return here.find((/** @type {any} */ one) => one.user_id === id && one.state === 'present')?.node_id;
    }, { what: 'a node that has the session' });
  };

  /** Comes in, again and again until nginx has chosen a node that nobody else is at. @param {string} room @param {string[]} names */
  const gather = async (room, names) => {
    /** @type {Map<string, Page>} */
    const at = new Map();
    for (const name of names) {
      const page = await chromium.open(undefined, { viewport: SMALL_WINDOW });
      page.setDefaultTimeout(BUSY_MS);
      await enterRoom(page, `${cluster.url}/room/${room}?video=small`, name, { muted: true });
      await until(async () => {
        const node = await nodeOf(page);
        if (!at.has(node)) return at.set(node, page);
        await page.reload();
        await inCall(page);
        return false;
      }, { what: `${name} at a node of their own`, timeoutMs: 2 * BUSY_MS });
    }
    for (const page of at.values()) await othersSeen(page, names.length - 1, BUSY_MS);
    return at;
  };

  /** Frames decoded so far, by sender. @param {Page} page */
  const frames = (page) => page.evaluate(async () => {
    /** @type {Record<string, number>} */
    const seen = {};
    for (const { userId, peer } of window.greenroomCall?.participants.values() ?? []) {
      for (const report of (await peer.getStats())?.values() ?? []) {
        if (report.type === 'inbound-rtp' && report.kind === 'video') seen[userId] = (seen[userId] ?? 0) + (report.framesDecoded ?? 0);
      }
    }
    return seen;
  });

  /** Notes what this window is told from now on, and marks what must stay. @param {Page} page */
  const witness = (page) => page.evaluate(() => {
    const call = window.greenroomCall;
    const told = (window.told = /** @type {any[]} */ ([]));
    call?.addEventListener('participant', ({ detail: { kind, participant, reason } }) => told.push([kind, participant.userId, participant.state, reason]));
    call?.addEventListener('joined', ({ detail }) => told.push(['joined-by', detail.outcome]));
    call?.addEventListener('state', ({ detail }) => told.push(['state', detail.state]));
    window.links = new Map([...call?.participants ?? []].map(([id, { peer }]) => [id, peer.pc]));
    document.querySelectorAll('.tile').forEach((tile) => tile.setAttribute('data-same', ''));
  });

  /** @param {Page} page */
  const unharmed = async (page) => {
    await othersSeen(page, 2, BUSY_MS);
    assert.equal(await page.locator('.tile[data-same]').count(), 3, 'the tiles are the same');
    const told = await page.evaluate(() => window.told);
    assert.deepEqual(told.filter(([kind]) => kind === 'left' || kind === 'joined'), [], 'nobody was seen to leave or to come');
    assert.ok(await page.evaluate(() => [...window.greenroomCall?.participants ?? []].every(([id, { peer }]) => peer.pc === window.links.get(id))), 'the connections are the same');
  };

  /** What the way back brought, once there was one. @param {Page} page */
  const outcome = (page) => page.evaluate(() => window.told.findLast(([kind]) => kind === 'joined-by')?.[1]);

  test('its node is killed: three tiles remain, pictures move, nobody sees a leave', async () => {
    const at = await gather('survivors', ['Ada', 'Bob', 'Carl']);
    assert.equal(at.size, 3, 'three people on three nodes');
    const pages = [...at.values()];
    const [[node, ada]] = at;
    const [, bob, carl] = /** @type {[Page, Page, Page]} */ (/** @type {unknown} */ (pages));
    for (const page of pages) await witness(page);
    const adaId = await ada.evaluate(() => window.greenroomCall?.me?.userId);

    const operator = await chromium.open(`${cluster.urlOf([...at.keys()][1] ?? '')}/status`);
    const logged = (/** @type {string} */ text) => operator.locator('[role=log] li', { hasText: text }).first().waitFor({ timeout: BACK_MS });
    await operator.locator('.chip', { hasText: 'Ada' }).waitFor();

    const killedAt = Date.now();
    cluster.kill(node);
    const stills = watchStills(pages, frames);
    await until(() => outcome(ada), { what: 'the way back', timeoutMs: BACK_MS });
    const backMs = Date.now() - killedAt;
    assert.equal(await outcome(ada), 'snapshot');
    for (const page of [bob, carl]) {
      await until(() => page.evaluate((id) => window.greenroomCall?.participants.get(id)?.state === 'present', adaId), { what: 'Ada present again' });
    }
    for (const page of pages) {
      const from = await frames(page);
      await until(async () => Object.entries(await frames(page)).every(([id, count]) => count > (from[id] ?? 0) + 5), { what: 'pictures after it', timeoutMs: STILL_MAX_MS });
    }
    const stillMs = await stills.stop();
    console.log(`# back after ${backMs} ms; the longest still was ${stillMs} ms`);
    assert.ok(stillMs < STILL_MAX_MS, `a picture stood still for ${stillMs} ms`);

    for (const page of pages) await unharmed(page);
    await logged(`${node} is dead`);
    await logged(`Ada in room survivors moved from ${node}`);
    assert.notEqual(await nodeOf(ada), node);
    // What is said now reaches everybody, from either side.
    await say(ada, 'Still here');
    for (const page of [bob, carl]) await page.waitForSelector('button[data-panel=chat][aria-label="Chat, 1 unread"]');
    await say(bob, 'So are we');
    await ada.locator('.chat-text', { hasText: 'So are we' }).waitFor();
  });

  test('the node of all three is killed, where nginx keeps rooms together', async () => {
    const together = await startCluster({ sticky: true });
    const pages = [];
    for (const name of ['Ada', 'Bob', 'Carl']) {
      const page = await chromium.open(undefined, { viewport: SMALL_WINDOW });
      page.setDefaultTimeout(BUSY_MS);
      await enterRoom(page, `${together.url}/room/together?video=small`, name, { muted: true });
      pages.push(page);
    }
    for (const page of pages) await othersSeen(page, 2, BUSY_MS);
    const nodes = new Set((await together.picture()).rooms[0].participants.map((/** @type {any} */ one) => one.node_id));
    assert.equal(nodes.size, 1, 'one node has the room');
    for (const page of pages) await witness(page);
    for (const node of nodes) together.kill(node);
    for (const page of pages) await until(() => outcome(page), { what: 'the way back', timeoutMs: BACK_MS });
    for (const page of pages) await unharmed(page);
    for (const page of pages) {
      await until(() => page.evaluate(() => [...window.greenroomCall?.participants.values() ?? []].every(({ peer }) => peer.pc?.signalingState === 'stable')), { what: 'all in step again', timeoutMs: BUSY_MS });
    }
    await Promise.all(pages.map((page) => page.context().close()));
    await together.stop();
  });
});

/**
 * Watches how long any picture stands still.
 * @param {Page[]} pages
 * @param {(page: Page) => Promise<Record<string, number>>} frames
 */
function watchStills(pages, frames) {
  let [over, longest] = [false, 0];
  const watch = async (/** @type {Page} */ page) => {
    /** @type {Map<string, { count: number, at: number }>} */
    const last = new Map();
    while (!over) {
      for (const [id, count] of Object.entries(await frames(page))) {
        const known = last.get(id);
        if (!known || count !== known.count) last.set(id, { count, at: Date.now() });
        longest = Math.max(longest, Date.now() - (last.get(id)?.at ?? 0));
      }
      await new Promise((resolve) => { setTimeout(resolve, 200); });
    }
  };
  const watching = Promise.all(pages.map(watch));
  // Where the test fails for another reason, the windows are closed under it.
  watching.catch(() => {});
  return { async stop() { over = true; await watching; return longest; } };
}
