/**
 * The library against scripted nodes of a cluster: a session that comes to another node, a node that is cut off from the
 * others, and signals that are lost on the way between two nodes.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './harness.mjs';
import { LIBRARY, answers, describeScripted, join, joined, message, numbers, roster, stage, user } from './scripted-kit.mjs';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('./scripted-kit.mjs').Socket} Socket */

const snapshot = (/** @type {number} */ seq, more = {}) => ({ type: 'Resumed', seq, outcome: 'snapshot', ...roster(more) });
const updated = (/** @type {number} */ seq, /** @type {object} */ who) => ({ type: 'UserUpdated', seq, room_name: 'room', user: who });
const unreachable = (/** @type {number} */ seq, /** @type {number} */ id) =>
  ({ type: 'Error', seq, id, code: 'peer_unreachable', message: 'lost', retryable: false });

/**
 * Joins with a whole call, and notes what it tells.
 * @param {Page} page
 * @param {string} userId
 */
const call = (page, userId = 'me') => page.evaluate(async ([library, id]) => {
  const { Call } = await import(library);
  const call = (window.call = new Call({ room: 'room', userId: id }));
  window.told = [];
  call.addEventListener('participant', ({ detail: { kind, participant } }) => window.told.push([kind, participant.userId, participant.state, participant.link]));
  call.addEventListener('isolated', ({ detail }) => window.told.push(['isolated', detail.isolated]));
  call.addEventListener('problem', ({ detail }) => window.told.push(['problem', detail.code]));
  call.addEventListener('joined', ({ detail }) => window.told.push(['joined', detail.outcome]));
  await call.join();
}, [LIBRARY, userId]);

/** @param {Page} page */
const told = (page) => page.evaluate(() => window.told);

/**
 * Carries signals between two windows as a node does; who is not in `sockets` loses what is sent to them.
 * @param {Record<string, { socket: Socket | undefined, seq: number }>} ends
 */
function relay(ends) {
  return (/** @type {string} */ from) => (/** @type {any} */ { type, target_user_id, id, sdp, candidate }) => {
    const end = ends[target_user_id];
    if (!end) return;
    ends[from]?.socket?.say({ type: 'Accepted', seq: (ends[from].seq += 1), id });
    end.socket?.say({ type, seq: (end.seq += 1), room_name: 'room', from_user_id: from, sdp, candidate });
  };
}

/** @param {Page} page */
const frames = (page) => page.evaluate(async () => {
  const [other] = [...window.call.participants.values()];
  const reports = [...(await other.peer.getStats())?.values() ?? []];
  return reports.reduce((sum, { type, kind, framesDecoded = 0 }) => sum + (type === 'inbound-rtp' && kind === 'video' ? framesDecoded : 0), 0);
});

describeScripted('the library and scripted nodes of a cluster', () => {
  test('names the room in the address, and asks for any node after one that did not answer', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined()),
      (socket) => socket.close(1013),
      (socket) => socket.say({ type: 'Resumed', seq: 2, outcome: 'full' }),
      (socket) => socket.say({ type: 'Resumed', seq: 3, outcome: 'full' }),
    ]);
    await join(page);
    for (const place of [0, 2]) {
      await until(() => page.evaluate(() => window.client.state === 'joined'), { what: 'the session' });
      await sockets[place]?.close(1011);
      await until(() => sockets[place + 1]?.hello, { what: 'the next socket' });
      if (place === 0) await until(() => sockets[2]?.hello, { what: 'the way back' });
    }
    assert.deepEqual(sockets.map(({ url }) => url.search), ['?room=room', '?room=room', '?room=room&again=1', '?room=room']);
    await page.context().close();
  });

  test('gives the token back as it came', async () => {
    const resume_token = `${'0'.repeat(64)}.room.me`;
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(1, { resume_token })),
      (socket) => socket.say({ type: 'Resumed', seq: 2, outcome: 'full' }),
    ]);
    await join(page);
    await sockets[0]?.close(1011);
    await until(() => sockets[1]?.hello, { what: 'the way back' });
    assert.equal(sockets[1]?.hello.resume_token, resume_token);
    await page.context().close();
  });

  test('takes a snapshot in the midst of a session: the socket stays, and nothing is sent twice', async () => {
    const { page, sockets } = await stage([(socket) => socket.say(joined(), message(2))]);
    await join(page);
    await page.evaluate(() => ['one', 'two'].forEach((name) => window.ask(name, { type: 'Message', data: name })));
    await until(() => sockets[0]?.of('Message').length === 2, { what: 'the commands' });
    sockets[0]?.say(snapshot(3), snapshot(3), { type: 'Accepted', seq: 4, id: 1 }, { type: 'Accepted', seq: 5, id: 2 }, message(6));
    await until(async () => (await numbers(page)).includes(6), { what: 'the message after it' });
    assert.deepEqual(await answers(page), { one: 'accepted', two: 'accepted' });
    assert.equal(await page.evaluate(() => window.heard.filter(({ type }) => type === 'Resumed').length), 1, 'a copy is ignored');
    await until(() => sockets[0]?.of('Ack').at(-1)?.seq === 6, { what: 'the acknowledgement' });
    assert.deepEqual([sockets.length, sockets[0]?.of('Message').length], [1, 2]);
    await page.context().close();
  });

  test('a call tells what a snapshot in the midst of it changed, and renegotiates', async () => {
    const { page, sockets } = await stage([(socket) => socket.say(joined(1, { participants: [user('goes'), user('stays')] }))]);
    await call(page);
    await until(() => sockets[0]?.of('Offer').length === 2, { what: 'the first offers' });
    sockets[0]?.say(snapshot(2, { participants: [user('stays', { state: 'suspect' })] }));
    await until(async () => (await told(page)).some(([, outcome]) => outcome === 'snapshot'), { what: 'the snapshot' });
    assert.deepEqual((await told(page)).filter(([kind, who]) => kind === 'left' || who === 'stays').map(([kind, who, state]) => [kind, who, state]).slice(-2),
      [['left', 'goes', 'present'], ['updated', 'stays', 'suspect']]);
    await until(() => sockets[0]?.of('Offer').length === 3, { what: 'another offer' });
    assert.equal(sockets[0]?.of('Offer')[2].target_user_id, 'stays');
    await page.context().close();
  });

  test('says that its node is cut off until a roster says otherwise', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(1, { isolated: true })),
      (socket) => socket.say(snapshot(2, { isolated: true }), snapshot(3)),
    ]);
    await call(page);
    assert.equal(await page.evaluate(() => window.call.isolated), true);
    await sockets[0]?.close(1011);
    await until(() => page.evaluate(() => window.call.isolated === false), { what: 'the end of it' });
    assert.deepEqual((await told(page)).filter(([kind]) => kind === 'isolated'), [['isolated', true], ['isolated', false]]);
    await page.context().close();
  });

  test('an offer that was refused is made again when the participant is back', async () => {
    const { page, sockets } = await stage([(socket) => socket.say(joined(1, { participants: [user('ann', { state: 'suspect' })] }))]);
    await call(page);
    const offer = await until(() => sockets[0]?.of('Offer')[0], { what: 'the offer' });
    // Whoever waits for an appointment from here on waits in vain.
    await page.evaluate(() => {
      const { setTimeout } = window;
      window.setTimeout = /** @type {any} */ ((/** @type {any} */ act, /** @type {number} */ ms) => (ms < 1_000 ? setTimeout(act, ms) : 0));
    });
    sockets[0]?.say(unreachable(2, offer.id), updated(3, user('ann')));
    await until(() => sockets[0]?.of('Offer')[1], { what: 'the same once more' });
    await page.context().close();
  });

  test('an offer that was taken and then lost is made again', async () => {
    const { page, sockets } = await stage([(socket) => socket.say(joined(1, { participants: [user('ann')] }))]);
    await call(page);
    const { id } = await until(() => sockets[0]?.of('Offer')[0], { what: 'the offer' });
    sockets[0]?.say({ type: 'Accepted', seq: 2, id }, unreachable(3, id));
    await until(() => sockets[0]?.of('Offer')[1], { what: 'another', timeoutMs: 6_000 });
    assert.deepEqual((await told(page)).filter(([kind]) => kind === 'problem'), []);
    await page.context().close();
  });

  test('a message that was taken and then lost is told', async () => {
    const { page, sockets } = await stage([(socket) => socket.say(joined())]);
    await call(page);
    await page.evaluate(() => void window.call.sendMessage('hello'));
    const { id } = await until(() => sockets[0]?.of('Message')[0], { what: 'the message' });
    sockets[0]?.say({ type: 'Accepted', seq: 2, id }, unreachable(3, id), unreachable(4, id));
    await until(async () => (await told(page)).length > 1, { what: 'the news' });
    assert.deepEqual((await told(page)).filter(([kind]) => kind === 'problem'), [['problem', 'undelivered']]);
    await page.context().close();
  });

  test('while a node says that it cannot have the session yet, the pauses stay short', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(1, { limits: { grace_ms: 50 } })),
      (socket) => socket.say({ type: 'Error', seq: 1, code: 'overloaded', message: 'its node does not answer', retryable: true }),
    ]);
    await hurry(page);
    await join(page);
    await sockets[0]?.close(1011);
    // Long after the grace, and each time the page has less than it to try again in.
    await until(() => sockets.length >= 20, { what: 'many attempts' });
    assert.deepEqual(await pausesOf(page), [300, 600, 1_200, 1_500]);
    assert.equal(sockets[19]?.hello.type, 'Resume');
    await page.context().close();
  });

  test('the pauses grow also after a session that lasted', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(1, { limits: { grace_ms: 1 } })),
      (socket) => socket.close(1013),
    ]);
    await hurry(page);
    await join(page);
    await page.evaluate(() => {
      const now = performance.now.bind(performance);
      performance.now = () => now() + 60_000;
    });
    await sockets[0]?.close(1011);
    await until(() => sockets.length >= 6, { what: 'a fifth attempt' });
    assert.deepEqual(await pausesOf(page), [300, 600, 1_200, 2_400, 4_800]);
    await page.context().close();
  });

  test('at another node the connections stay, pictures go on, and ICE is restarted', async () => {
    /** @type {Record<string, { socket: Socket | undefined, seq: number }>} */
    const ends = {};
    const carry = relay(ends);
    const play = (/** @type {string} */ who, /** @type {string} */ other, /** @type {string} */ outcome) => (/** @type {Socket} */ socket) => {
      const seq = (ends[who]?.seq ?? 0) + 1;
      ends[who] = { socket, seq };
      socket.onCommand = carry(who);
      const participants = ends[other] ? [user(other)] : [];
      socket.say(outcome === 'joined' ? joined(seq, { user_id: who, participants }) : snapshot(seq, { user_id: who, participants }));
    };
    const ann = await stage([play('ann', 'bob', 'joined'), play('ann', 'bob', 'snapshot')]);
    const bob = await stage([play('bob', 'ann', 'joined')]);
    const sendVideo = (/** @type {Page} */ page) => page.evaluate(async () => {
      const media = await navigator.mediaDevices.getUserMedia({ video: true });
      await window.call.setTrack('video', media.getVideoTracks()[0]);
    });
    await call(ann.page, 'ann');
    await sendVideo(ann.page);
    ends.ann?.socket?.say({ type: 'UserJoined', seq: (ends.ann.seq += 1), room_name: 'room', user: user('bob') });
    await call(bob.page, 'bob');
    await sendVideo(bob.page);
    for (const { page } of [ann, bob]) await until(async () => (await frames(page)) > 5, { what: 'pictures' });
    for (const { page } of [ann, bob]) {
      await page.evaluate(() => {
        const [{ peer, stream }] = window.call.participants.values();
        window.before = { pc: peer.pc, stream, track: stream.getVideoTracks()[0] };
        window.told.length = 0;
      });
    }

    const lost = ends.ann?.socket;
    ends.bob?.socket?.say(updated((ends.bob.seq += 1), user('ann', { state: 'suspect' })));
    await until(async () => (await told(bob.page)).some(([, , state]) => state === 'suspect'), { what: 'the loss seen' });
    await lost?.close(1011);
    await until(() => ann.sockets[1]?.of('Offer').length, { what: 'an offer at the other node' });
    ends.bob?.socket?.say(updated((ends.bob.seq += 1), user('ann')));
    await until(() => bob.sockets[0]?.of('Answer').length || ann.sockets[1]?.of('Answer').length, { what: 'its answer' });

    for (const { page } of [ann, bob]) {
      const seen = await frames(page);
      await until(async () => (await frames(page)) > seen + 10, { what: 'pictures that go on' });
      assert.deepEqual(await page.evaluate(() => {
        const [{ peer, stream }] = window.call.participants.values();
        return [peer.pc === window.before.pc, stream === window.before.stream, stream.getVideoTracks()[0] === window.before.track, peer.state, peer.pc.signalingState];
      }), [true, true, true, 'connected', 'stable']);
      assert.deepEqual((await told(page)).filter(([kind, , , link]) => kind === 'left' || kind === 'joined' && link || link === 'reconnecting'), [], 'nobody left, and no picture froze');
    }
    await ann.page.context().close();
    await bob.page.context().close();
  });

  test('links that are out of step come in step again, and stay connected', async () => {
    const { page } = await stage([() => {}]);
    await page.evaluate(async (library) => {
      await navigator.mediaDevices.getUserMedia({ audio: true });
      const { PeerLink } = await import(library);
      const tracks = { audio: null, video: null, screen: null, screenAudio: null };
      const links = (window.links = {});
      window.refusedIn = [];
      window.refuse = false;
      const send = (/** @type {string} */ to) => async (/** @type {any} */ { type, sdp, candidate }) => {
        if (window.refuse) {
          // Candidates of what was agreed before may still be on their way; the state is that of this moment.
          if (type === 'Offer') window.refusedIn.push(links.bob.pc.signalingState);
          throw Object.assign(new Error('lost'), { code: 'peer_unreachable' });
        }
        if (type === 'Offer') links[to].takeOffer(sdp);
        else if (type === 'Answer') links[to].takeAnswer(sdp);
        else links[to].takeCandidate(candidate);
      };
      const options = { canSignal: () => true, iceServers: () => [], tracks };
      links.ann = new PeerLink({ ...options, polite: true, signal: send('bob') });
      links.bob = new PeerLink({ ...options, polite: false, signal: send('ann') });
      links.bob.start();
    }, LIBRARY);
    const inStep = () => page.evaluate(() => Object.values(window.links).every(({ pc, state }) => state === 'connected' && pc.signalingState === 'stable'));
    await until(inStep, { what: 'both connected' });

    for (const healed of ['by itself', 'when the other is back']) {
      await page.evaluate(() => {
        window.pcs = Object.values(window.links).map(({ pc }) => pc);
        window.refusedIn = [];
        window.refuse = true;
        window.links.bob.renegotiate();
      });
      await until(() => page.evaluate(() => window.refusedIn.length), { what: 'a refused offer' });
      assert.equal(await page.evaluate(() => window.refusedIn[0]), 'have-local-offer');
      await page.evaluate((itself) => {
        window.refuse = false;
        if (!itself) window.links.bob.reachable();
      }, healed === 'by itself');
      await until(inStep, { what: `in step, ${healed}`, timeoutMs: healed === 'by itself' ? 8_000 : 1_500 });
      assert.ok(await page.evaluate(() => Object.values(window.links).every(({ pc }, place) => pc === window.pcs[place])), 'the connections are the same');
    }
    await page.context().close();
  });
});

/**
 * Makes chance choose the longest pause and pauses pass quickly, and notes them.
 * @param {Page} page
 */
const hurry = (page) => page.evaluate(() => {
  Math.random = () => 1;
  const setTimer = window.setTimeout.bind(window);
  window.pauses = [];
  window.setTimeout = /** @type {any} */ ((/** @type {() => void} */ act, /** @type {number} */ ms) => {
    window.pauses.push(ms);
    return setTimer(act, ms >= 300 && ms < 9_000 ? 5 : ms);
  });
});

/**
 * The pauses between attempts that there were, each once.
 * @param {Page} page
 */
async function pausesOf(page) {
  const pauses = await page.evaluate(() => window.pauses);
  return [300, 600, 1_200, 1_500, 2_400, 4_800, 8_000].filter((pause) => pauses.includes(pause)).slice(0, 5);
}
