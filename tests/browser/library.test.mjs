/**
 * The library in static/js, in a real browser: sessions against a real node and against a scripted one that does what a
 * real one does once in a month, and calls between real windows with fake cameras.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { skipReason, loseMedia, startBrowser, startNode, startWire, until } from './harness.mjs';

const LIBRARY = '/static/js/index.js';
/** Any page of the node will do: it lends its origin and brings no script. */
const BLANK = '/health/live';

/** @typedef {import('playwright-core').Page} Page */

let rooms = 0;
const newRoom = () => `room-${process.pid}-${rooms++}`;

/** @type {Awaited<ReturnType<typeof startNode>>} */
let node;
/** @type {Awaited<ReturnType<typeof startBrowser>>} */
let browser;

/** A window of its own. @param {object} [options] @param {string} [base] */
async function open(options, base = node.url) {
  return browser.open(base + BLANK, options);
}

/** @param {Page[]} pages */
const close = (...pages) => Promise.all(pages.map((page) => page.context().close()));

/**
 * Joins with a `SignalingClient` that keeps all it hears in `window.heard`.
 * @param {Page} page
 * @param {{ room: string, userId?: string, url?: string, username?: string }} who
 */
async function joinSignaling(page, who) {
  return page.evaluate(async ([library, { url, ...options }]) => {
    const { SignalingClient } = await import(library);
    const client = (window.client = new SignalingClient({ url, storage: sessionStorage }));
    const heard = (window.heard = []);
    for (const type of ['RoomJoined', 'Resumed', 'UserJoined', 'UserUpdated', 'UserLeft', 'RoomState', 'Muted', 'Offer', 'Message', 'Error', 'state', 'ended']) {
      client.addEventListener(type, ({ detail }) => heard.push({ type, ...detail }));
    }
    window.attempt = (command) => client.send(command).then(() => 'accepted', ({ code }) => code);
    return client.join(options).then((joined) => joined, ({ code, retryable }) => ({ code, retryable }));
  }, /** @type {const} */ ([LIBRARY, who]));
}

/**
 * Joins with a `Call` that sends a fake camera and microphone; its events are kept in `window.told`.
 * @param {Page} page
 * @param {{ room: string, userId: string, small?: boolean }} who small: for tests in which dozens of pictures are encoded at once
 */
async function joinCall(page, who) {
  await page.evaluate(async ([library, { small = false, ...options }]) => {
    const { Call } = await import(library);
    const call = (window.call = new Call(options));
    const told = (window.told = []);
    for (const type of ['state', 'joined', 'participant', 'media', 'message', 'room', 'me', 'muted', 'problem', 'ended']) {
      call.addEventListener(type, ({ detail: { participant, ...detail } }) => told.push({ type, userId: participant?.userId, link: participant?.link, ...detail }));
    }
    const camera = await navigator.mediaDevices.getUserMedia({ audio: true, video: small ? { width: 64, height: 48, frameRate: 3 } : { width: 160, height: 120, frameRate: 15 } });
    await call.setTrack('audio', camera.getAudioTracks()[0]);
    await call.setTrack('video', camera.getVideoTracks()[0]);
    await call.join();
  }, /** @type {const} */ ([LIBRARY, who]));
}

const heard = (/** @type {Page} */ page, /** @type {string} */ type) =>
  page.evaluate((wanted) => window.heard.filter((one) => one.type === wanted), type);
const told = (/** @type {Page} */ page, /** @type {string} */ type) =>
  page.evaluate((wanted) => window.told.filter((one) => one.type === wanted), type);
const link = (/** @type {Page} */ page, /** @type {string} */ userId) =>
  page.evaluate((id) => window.call.participants.get(id)?.link, userId);

/** What one window received of another so far. @param {Page} page @param {string} userId */
function received(page, userId) {
  return page.evaluate(async (id) => {
    const sum = { frames: 0, audioBytes: 0, videoBytes: 0 };
    (await window.call.participants.get(id)?.peer.getStats())?.forEach((entry) => {
      if (entry.type !== 'inbound-rtp') return;
      sum[`${entry.kind}Bytes`] += entry.bytesReceived;
      sum.frames += entry.framesDecoded ?? 0;
    });
    return sum;
  }, userId);
}

/**
 * Waits until one window sees another move and hears it, from now on.
 * @param {Page} page
 * @param {string} userId
 * @param {number} [timeoutMs] for the connection, and again for the media
 */
async function seesAndHears(page, userId, timeoutMs = 30_000) {
  await until(() => link(page, userId).then((state) => state === 'connected'), { what: `a link with ${userId}`, timeoutMs });
  let first = await received(page, userId);
  await until(async () => {
    const now = await received(page, userId);
    if (now.frames < first.frames || now.audioBytes < first.audioBytes) first = now; // the connection is a new one
    if (now.frames > first.frames + 3 && now.audioBytes > first.audioBytes) return true;
    throw new Error(JSON.stringify({ first, now, link: await link(page, userId) }));
  }, { what: `moving pictures and sound of ${userId}`, timeoutMs });
}

/** Waits until each window sees and hears each other one. @param {Map<string, Page>} pages */
async function everyoneMeets(pages) {
  for (const [userId, page] of pages) {
    const others = [...pages.keys()].filter((id) => id !== userId);
    await Promise.all(others.map((other) => seesAndHears(page, other, 120_000)));
  }
}

/** Two windows that see each other. */
async function pair(options = {}) {
  const room = newRoom();
  const [ann, bob] = [await open(options), await open(options)];
  await joinCall(ann, { room, userId: 'ann' });
  await joinCall(bob, { room, userId: 'bob' });
  await Promise.all([seesAndHears(ann, 'bob'), seesAndHears(bob, 'ann')]);
  return { room, ann, bob };
}

describe('the browser library', { skip: skipReason(), timeout: 600_000 }, () => {
  before(async () => {
    node = await startNode({ env: { SESSION_GRACE_SECS: '4' } });
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.stop();
    await node?.stop();
  });

  describe('a session', () => {
    test('begins with the roster, and every command is answered', async () => {
      const room = newRoom();
      const [ann, bob] = [await open(), await open()];
      const first = await joinSignaling(ann, { room, userId: 'ann', username: 'Ann' });
      assert.deepEqual([first.user_id, first.role, first.participants], ['ann', 'moderator', []]);
      const second = await joinSignaling(bob, { room, userId: 'bob' });
      assert.deepEqual(second.participants.map((user) => [user.user_id, user.username]), [['ann', 'Ann']]);
      await until(() => heard(ann, 'UserJoined').then((all) => all.length === 1), { what: 'the news of bob' });

      const answers = await bob.evaluate(async () => [
        await window.attempt({ type: 'Message', data: { text: 'hello' }, target_user_id: 'ann' }),
        await window.attempt({ type: 'Message', data: 1, target_user_id: 'nobody' }),
        await window.attempt({ type: 'Lock', locked: true }),
        await window.attempt({ type: 'Message', data: 'x'.repeat(70_000) }),
        await window.attempt({ type: 'Dance' }),
      ]);
      assert.deepEqual(answers, ['accepted', 'peer_unreachable', 'forbidden', 'too_large', 'unsupported']);
      const [message] = await until(() => heard(ann, 'Message').then((all) => all.length > 0 && all), { what: 'the message' });
      assert.deepEqual([message.from_user_id, message.data], ['bob', { text: 'hello' }]);
      await close(ann, bob);
    });

    test('loses and doubles nothing when sockets are cut while both sides talk', async () => {
      const room = newRoom();
      const wire = await startWire(node.port);
      const [ann, bob] = [await open({}, wire.url), await open({}, wire.url)];
      await joinSignaling(ann, { room, userId: 'ann' });
      await joinSignaling(bob, { room, userId: 'bob' });
      const total = 150;
      const talk = (/** @type {Page} */ page, /** @type {string} */ target) => page.evaluate(async ([to, count]) => {
        window.answers = [];
        for (let number = 0; number < count; number++) {
          window.attempt({ type: 'Message', data: number, target_user_id: to }).then((answer) => window.answers.push(answer));
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }, /** @type {const} */ ([target, total]));
      const talking = Promise.all([talk(ann, 'bob'), talk(bob, 'ann')]);
      for (const reached of [20, 50, 80, 110]) {
        await until(() => heard(ann, 'Message').then((all) => all.length >= reached), { what: `${reached} messages`, everyMs: 20 });
        wire.cut();
      }
      await talking;
      for (const page of [ann, bob]) {
        await until(() => heard(page, 'Message').then((all) => all.length >= total), { what: 'every message' });
        await until(() => page.evaluate((count) => window.answers.length === count, total), { what: 'every answer' });
        assert.deepEqual((await heard(page, 'Message')).map(({ data }) => data), Array.from({ length: total }, (_, number) => number));
        assert.deepEqual([...new Set(await page.evaluate(() => window.answers))], ['accepted']);
        const outcomes = (await heard(page, 'Resumed')).map(({ outcome }) => outcome);
        assert.ok(outcomes.length >= 3 && outcomes.every((outcome) => outcome === 'full'), String(outcomes));
        assert.equal((await heard(page, 'UserLeft')).length, 0);
      }
      await close(ann, bob);
      await wire.stop();
    });

    test('notices a network that says nothing, and comes back with it', async () => {
      const wire = await startWire(node.port);
      const page = await open({}, wire.url);
      await joinSignaling(page, { room: newRoom(), userId: 'ann' });
      wire.silent();
      await page.evaluate(() => window.dispatchEvent(new Event('offline')));
      await until(() => page.evaluate(() => window.client.state === 'reconnecting'), { what: 'the loss to be noticed' });
      const sent = page.evaluate(() => window.attempt({ type: 'Update', metadata: { waited: true } }));
      wire.cut();
      wire.up();
      await page.evaluate(() => window.dispatchEvent(new Event('online')));
      assert.equal(await sent, 'accepted');
      await close(page);
      await wire.stop();
    });

    test('begins anew by itself when its grace is over, as the same participant', async () => {
      const room = newRoom();
      const wire = await startWire(node.port);
      const [ann, bob] = [await open({}, wire.url), await open()];
      await joinSignaling(ann, { room, userId: 'ann' });
      await joinSignaling(bob, { room, userId: 'bob' });
      await ann.evaluate(() => window.attempt({ type: 'Update', metadata: { audio: true } }));
      wire.down();
      await until(() => heard(bob, 'UserLeft').then(([left]) => left?.reason === 'timeout'), { what: 'the end of the grace' });
      wire.up();
      await until(() => heard(ann, 'RoomJoined').then((all) => all.length === 2), { what: 'a second join' });
      const [back] = await until(() => heard(bob, 'UserJoined').then((all) => all.length > 0 && all), { what: 'the return' });
      assert.deepEqual([back.user.user_id, back.user.metadata], ['ann', { audio: true }]);
      await close(ann, bob);
      await wire.stop();
    });

    test('opened elsewhere ends here, and nobody sees a leave or a join', async () => {
      const room = newRoom();
      const [watcher, first, second] = [await open(), await open(), await open()];
      await joinSignaling(watcher, { room, userId: 'watcher' });
      await joinSignaling(first, { room, userId: 'ann' });
      await joinSignaling(second, { room, userId: 'ann' });
      const [ended] = await until(() => heard(first, 'ended').then((all) => all.length > 0 && all), { what: 'the end of the first' });
      assert.deepEqual([ended.code, ended.mayReturn], [4409, true]);
      assert.equal(await first.evaluate(() => window.client.state), 'closed');
      assert.equal(await first.evaluate(() => window.attempt({ type: 'Message', data: 1 })), 'not_joined');
      await second.evaluate(() => window.attempt({ type: 'Message', data: 'last' }));
      await until(() => heard(watcher, 'Message').then((all) => all.length === 1), { what: 'a message after it' });
      assert.equal((await heard(watcher, 'UserJoined')).length, 1);
      assert.equal((await heard(watcher, 'UserLeft')).length, 0);
      await close(watcher, first, second);
    });

    test('a removed participant does not come back', async () => {
      const room = newRoom();
      const [ann, bob] = [await open(), await open()];
      await joinSignaling(ann, { room, userId: 'ann' });
      await joinSignaling(bob, { room, userId: 'bob' });
      assert.equal(await ann.evaluate(() => window.attempt({ type: 'Kick', target_user_id: 'bob' })), 'accepted');
      const [ended] = await until(() => heard(bob, 'ended').then((all) => all.length > 0 && all), { what: 'the end' });
      assert.deepEqual([ended.code, ended.mayReturn], [4410, false]);
      const [left] = await until(() => heard(ann, 'UserLeft').then((all) => all.length > 0 && all), { what: 'the news' });
      assert.deepEqual([left.user_id, left.reason], ['bob', 'kicked']);
      await close(ann, bob);
    });

    test('a refused join says why, and may be tried again', async () => {
      const room = newRoom();
      const [ann, bob] = [await open(), await open()];
      await joinSignaling(ann, { room, userId: 'ann' });
      await ann.evaluate(() => window.attempt({ type: 'Lock', locked: true }));
      assert.deepEqual(await joinSignaling(bob, { room, userId: 'bob' }), { code: 'room_locked', retryable: true });
      assert.equal(await bob.evaluate(() => window.client.state), 'idle');
      await ann.evaluate(() => window.attempt({ type: 'Lock', locked: false }));
      assert.equal(await bob.evaluate((name) => window.client.join({ room: name, userId: 'bob' }).then((joined) => joined.user_id), room), 'bob');
      await close(ann, bob);
    });

    test('a reload keeps the participant that the node had named', async () => {
      const page = await open();
      const room = newRoom();
      const { user_id: given } = await joinSignaling(page, { room });
      await page.reload();
      const again = await joinSignaling(page, { room });
      assert.ok(given.length > 0);
      assert.equal(again.user_id, given);
      await close(page);
    });
  });

  describe('a call', () => {
    test('two windows see and hear each other, talk, and change what they send without negotiating', async () => {
      const { ann, bob } = await pair();
      await ann.evaluate(() => window.call.sendMessage({ text: '<b>hi</b>' }));
      const [message] = await until(() => told(bob, 'message').then((all) => all.length > 0 && all), { what: 'the message' });
      assert.deepEqual([message.from, message.data], ['ann', { text: '<b>hi</b>' }]);

      await bob.evaluate(() => {
        window.negotiations = 0;
        window.call.participants.get('ann').peer.pc.addEventListener('signalingstatechange', () => window.negotiations++);
      });
      await ann.evaluate(async () => {
        const canvas = document.createElement('canvas');
        const paint = canvas.getContext('2d');
        setInterval(() => paint.fillRect(Math.random() * 300, Math.random() * 150, 9, 9), 50);
        [window.screenTrack] = canvas.captureStream(10).getVideoTracks();
        await window.call.setTrack('screen', window.screenTrack);
        await window.call.setTrack('audio', null);
      });
      await until(() => bob.evaluate(() => {
        const { screen, metadata } = window.call.participants.get('ann');
        return metadata.screen && !metadata.audio && screen && !screen.getVideoTracks()[0].muted;
      }), { what: 'the shared screen' });
      await ann.evaluate(() => {
        window.screenTrack.stop();
        window.screenTrack.dispatchEvent(new Event('ended')); // as the browser's own "stop sharing" does
      });
      await until(() => bob.evaluate(() => window.call.participants.get('ann').screen === null), { what: 'the end of sharing' });
      assert.equal(await bob.evaluate(() => window.negotiations), 0);
      await until(() => bob.evaluate(() => ['good', 'fair', 'poor'].includes(window.call.participants.get('ann').quality)), { what: 'a judged quality' });

      await ann.evaluate(() => window.call.leave());
      const [ended] = await told(ann, 'ended');
      assert.deepEqual([ended.code, ended.reason, ended.mayReturn], [1000, 'left', true]);
      await until(() => told(bob, 'participant').then((all) => all.some(({ kind, reason }) => kind === 'left' && reason === 'left')), { what: 'the leave' });
      await close(ann, bob);
    });

    test('simultaneous offers end connected, whoever is polite', async () => {
      const { ann, bob } = await pair();
      for (const how of ['start', 'renegotiate', 'start', 'renegotiate', 'start']) {
        // Both sides offer before either can have heard of the other's offer.
        const at = Date.now() + 300;
        await Promise.all([[ann, 'bob'], [bob, 'ann']].map(([page, other]) => page.evaluate(async ([id, method, when]) => {
          await new Promise((resolve) => setTimeout(resolve, when - Date.now()));
          window.call.participants.get(id).peer[method]();
        }, /** @type {const} */ ([other, how, at]))));
        await until(async () => {
          const states = await Promise.all([[ann, 'bob'], [bob, 'ann']].map(([page, other]) => page.evaluate((id) => {
            const { pc } = window.call.participants.get(id).peer;
            return pc?.connectionState === 'connected' && pc.signalingState === 'stable';
          }, other)));
          return states.every(Boolean);
        }, { what: `a connection after colliding ${how}`, timeoutMs: 8_000 });
      }
      await Promise.all([seesAndHears(ann, 'bob'), seesAndHears(bob, 'ann')]);
      await close(ann, bob);
    });

    test('a reloaded window is together with the others again, and they are told of no leave', async () => {
      const { room, ann, bob } = await pair();
      const stream = await ann.evaluate(() => window.call.participants.get('bob').stream.id);
      for (const page of [bob, ann]) { // the polite side, then the impolite one
        const [other, id, me] = page === bob ? [ann, 'bob', 'ann'] : [bob, 'ann', 'bob'];
        await other.evaluate((peer) => { window.oldPc = window.call.participants.get(peer).peer.pc; }, id);
        await page.reload();
        await page.evaluate(() => {
          window.connections = 0;
          window.RTCPeerConnection = class extends RTCPeerConnection {
            constructor(/** @type {any[]} */ ...options) {
              super(...options);
              window.connections += 1;
            }
          };
        });
        await joinCall(page, { room, userId: id });
        await Promise.all([seesAndHears(other, id), seesAndHears(page, me)]);
        assert.equal(await page.evaluate(() => window.connections), 1, 'the first connection that was offered is the one');
        assert.equal(await other.evaluate(() => window.oldPc.connectionState), 'closed', 'the one without another end is closed');
        const kinds = (await told(other, 'participant')).filter(({ userId }) => userId === id).map(({ kind }) => kind);
        assert.ok(!kinds.includes('left') && kinds.filter((kind) => kind === 'joined').length <= 1, String(kinds));
        if (page === bob) assert.equal(await ann.evaluate(() => window.call.participants.get('bob').stream.id), stream);
      }
      await close(ann, bob);
    });

    test('the loss of the whole network heals by an ICE restart, and the tile stays', async () => {
      const { ann, bob } = await pair({ losable: true });
      const ufrag = () => bob.evaluate(() => /a=ice-ufrag:(\S+)/.exec(window.call.participants.get('ann').peer.pc.localDescription.sdp)?.[1]);
      const before = await ufrag();
      await loseMedia(ann, true);
      await until(() => link(ann, 'bob').then((state) => state === 'reconnecting'), { what: 'the loss', timeoutMs: 30_000 });
      await until(async () => (await ufrag()) !== before, { what: 'an ICE restart', timeoutMs: 20_000 });
      await loseMedia(ann, false);
      await Promise.all([seesAndHears(ann, 'bob'), seesAndHears(bob, 'ann')]);
      for (const page of [ann, bob]) {
        assert.ok((await told(page, 'participant')).every(({ kind }) => kind !== 'left'));
      }
      await close(ann, bob);
    });

    test('a lost socket costs nobody anything', async () => {
      const room = newRoom();
      const wire = await startWire(node.port);
      const [ann, bob] = [await open({}, wire.url), await open()];
      await joinCall(ann, { room, userId: 'ann' });
      await joinCall(bob, { room, userId: 'bob' });
      await Promise.all([seesAndHears(ann, 'bob'), seesAndHears(bob, 'ann')]);
      const pc = () => ann.evaluate(() => { window.pc ??= window.call.participants.get('bob').peer.pc; return window.pc === window.call.participants.get('bob').peer.pc; });
      await pc();
      wire.down();
      await until(() => bob.evaluate(() => window.call.participants.get('ann').state === 'suspect'), { what: 'the suspicion' });
      wire.up();
      await until(() => told(ann, 'joined').then((all) => all.at(-1)?.outcome === 'full'), { what: 'the return' });
      await until(() => bob.evaluate(() => window.call.participants.get('ann').state === 'present'), { what: 'the end of the suspicion' });
      await Promise.all([seesAndHears(ann, 'bob'), seesAndHears(bob, 'ann')]);
      assert.ok(await pc(), 'the connection of the media was kept');
      await close(ann, bob);
      await wire.stop();
    });

    test('a window that was away for longer than its grace is together with the others again', async () => {
      const room = newRoom();
      const wire = await startWire(node.port);
      const [ann, bob] = [await open({}, wire.url), await open()];
      await joinCall(ann, { room, userId: 'ann' });
      await joinCall(bob, { room, userId: 'bob' });
      await Promise.all([seesAndHears(ann, 'bob'), seesAndHears(bob, 'ann')]);
      wire.down();
      await until(() => bob.evaluate(() => window.call.participants.size === 0), { what: 'the end of the grace' });
      wire.up();
      await until(() => bob.evaluate(() => window.call.participants.size === 1), { what: 'the return' });
      // At once, and not when a timer finds that something is wrong.
      await Promise.all([seesAndHears(ann, 'bob', 8_000), seesAndHears(bob, 'ann', 8_000)]);
      assert.ok((await told(ann, 'participant')).every(({ kind }) => kind !== 'left'), 'bob was never gone');
      await close(ann, bob);
      await wire.stop();
    });

    test('a third and a ninth are seen and heard by everyone', async () => {
      const room = newRoom();
      const ids = ['ann', 'bob', 'cat', 'dan', 'eve', 'fay', 'gus', 'hal', 'ida'];
      /** @type {Map<string, Page>} */
      const pages = new Map();
      for (const [count, userId] of ids.entries()) {
        const page = await open();
        await joinCall(page, { room, userId, small: true });
        pages.set(userId, page);
        if (count === 2 || count === ids.length - 1) await everyoneMeets(pages);
      }
      await close(...pages.values());
    });

    test('signals that are nonsense hurt nobody', async () => {
      const { room, ann, bob } = await pair();
      const eve = await open();
      await joinSignaling(eve, { room, userId: 'eve' });
      const nonsense = [
        { type: 'Offer', sdp: 'not a description' }, { type: 'Offer', sdp: null }, { type: 'Answer', sdp: {} },
        { type: 'IceCandidate', candidate: { candidate: 'candidate:nonsense', sdpMid: '0', sdpMLineIndex: 0 } },
        { type: 'IceCandidate', candidate: 7 }, { type: 'IceCandidate', candidate: null },
      ];
      await eve.evaluate((signals) => Promise.all(signals.map((signal) => window.attempt({ ...signal, target_user_id: 'ann' }))), nonsense);
      await until(() => ann.evaluate(() => window.call.participants.has('eve')), { what: 'eve' });
      await seesAndHears(ann, 'bob');
      await eve.evaluate(() => window.client.leave());
      await until(() => ann.evaluate(() => !window.call.participants.has('eve')), { what: 'the leave of eve' });
      await seesAndHears(ann, 'bob');
      await close(ann, bob, eve);
    });
  });
});
