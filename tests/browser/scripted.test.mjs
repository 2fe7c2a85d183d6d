/**
 * The library against a node that follows a script: what a real node does rarely, or should never do. What it does in a
 * cluster is in `scripted_cluster.test.mjs`.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from './harness.mjs';
import { LIBRARY, answers, describeScripted, ended, join, joined, message, numbers, roster, stage, user } from './scripted-kit.mjs';

describeScripted('the library and a scripted node', () => {
  test('takes each message once and in order; a gap is filled by resuming', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(), message(2), message(2), message(4), message(5)),
      (socket) => socket.say(message(2), message(3), message(4), message(5), { type: 'Resumed', seq: 6, outcome: 'full' }, message(7)),
    ]);
    assert.equal(await join(page), 'joined');
    await until(async () => (await numbers(page)).includes(7), { what: 'the last message' });
    assert.deepEqual(await numbers(page), [2, 3, 4, 5, 7]);
    assert.deepEqual(sockets[1]?.hello, { type: 'Resume', session_id: 'session', resume_token: 'token', last_seq: 2 });
    await page.context().close();
  });

  test('leaves out what it does not understand', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(), 'no json', '[]', 'null', { seq: 9 }, { type: 'Novelty', seq: 2 }, { type: 'Accepted', seq: 3, id: 'unasked' }, message(4)),
    ]);
    await join(page);
    await until(async () => (await numbers(page)).includes(4), { what: 'the message after it' });
    assert.equal(sockets.length, 1);
    await page.context().close();
  });

  test('acknowledges in bulk, and soon', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(), ...Array.from({ length: 40 }, (_, index) => message(index + 2))),
    ]);
    await join(page);
    await until(() => sockets[0]?.of('Ack').at(-1)?.seq === 41, { what: 'the last acknowledgement', timeoutMs: 4_000 });
    assert.deepEqual(sockets[0]?.of('Ack').map(({ seq }) => seq), [16, 32, 41]);
    await page.context().close();
  });

  test('sends again, in order and under the same ids, exactly what was not answered', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined()),
      (socket) => {
        socket.say({ type: 'Accepted', seq: 2, id: 1 }, { type: 'Error', seq: 3, id: 3, code: 'forbidden', message: 'no', retryable: false });
        setTimeout(() => {
          assert.deepEqual(socket.heard, [], 'nothing is sent before the session is back');
          socket.say({ type: 'Resumed', seq: 4, outcome: 'full' });
        }, 300);
      },
    ]);
    await join(page);
    await page.evaluate(() => ['one', 'two', 'three', 'four'].forEach((name) => window.ask(name, { type: 'Message', data: name })));
    await until(() => sockets[0]?.of('Message').length === 4, { what: 'the commands' });
    await sockets[0]?.close(1011);
    await until(() => sockets[1]?.of('Message').length === 2, { what: 'the two that were not answered' });
    assert.deepEqual(sockets[1]?.of('Message').map(({ id, data }) => [id, data]), [[2, 'two'], [4, 'four']]);
    sockets[1]?.say({ type: 'Accepted', seq: 5, id: 2 }, { type: 'Accepted', seq: 6, id: 4 });
    await until(async () => Object.keys(await answers(page)).length === 4, { what: 'all answers' });
    assert.deepEqual(await answers(page), { one: 'accepted', two: 'accepted', three: 'forbidden', four: 'accepted' });
    await page.context().close();
  });

  test('after a snapshot keeps what may be sent twice or was never sent, and says so of the rest', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined()),
      // The second socket does not answer until the test says so.
      () => {},
    ]);
    await join(page);
    await page.evaluate(() => {
      window.ask('message', { type: 'Message', data: 'sent' });
      window.ask('offer', { type: 'Offer', target_user_id: 'ann', sdp: 'v=0' });
      window.ask('update', { type: 'Update', metadata: { audio: true } });
    });
    await until(() => sockets[0]?.heard.length === 3, { what: 'the commands' });
    await sockets[0]?.close(4408);
    await until(() => sockets[1]?.hello, { what: 'the second hello' });
    await page.evaluate(() => window.ask('late', { type: 'Message', data: 'never sent before' }));
    sockets[1]?.say({ type: 'Resumed', seq: 77, outcome: 'snapshot', ...roster({ session_id: 'session', resume_token: 'newer' }) }, message(78));
    await until(() => sockets[1]?.of('Message').length === 1, { what: 'the late message' });
    assert.deepEqual(sockets[1]?.heard.map(({ type, data }) => [type, data]), [['Update', undefined], ['Message', 'never sent before']]);
    await until(async () => (await answers(page)).offer, { what: 'the answers' });
    const { message: sent, offer } = await answers(page);
    assert.deepEqual([sent, offer], ['outcome_unknown', 'superseded']);
    assert.deepEqual(await numbers(page), [78]);
    await page.context().close();
  });

  test('moves when a draining node says so, and not before', async () => {
    let saidAt = Infinity;
    const { page, sockets } = await stage([
      (socket) => {
        saidAt = Date.now();
        socket.say(joined(), { type: 'Draining', seq: 2, reconnect_after_ms: 800 });
      },
      (socket) => socket.say({ type: 'Resumed', seq: 3, outcome: 'full' }),
    ]);
    await join(page);
    await sockets[0]?.close(1001); // earlier than announced
    await until(() => sockets[1]?.hello, { what: 'the move' });
    assert.ok((sockets[1]?.openedAt ?? 0) - saidAt >= 790);
    assert.deepEqual(sockets[1]?.hello.last_seq, 2);
    await page.context().close();
  });

  for (const code of [1000, 4400, 4401, 4403, 4409, 4410]) {
    test(`does not come back after ${code}`, async () => {
      const { page, sockets } = await stage([(socket) => socket.say(joined())]);
      await join(page);
      await page.evaluate(() => window.ask('open', { type: 'Message', data: 1 }));
      await sockets[0]?.close(code);
      const end = await until(() => ended(page), { what: 'the end' });
      assert.equal(end.code, code);
      assert.deepEqual(await answers(page), { open: 'closed' });
      assert.equal(await page.evaluate(() => window.client.state), 'closed');
      await page.evaluate(() => window.dispatchEvent(new Event('online')));
      assert.equal(sockets.length, 1);
      await page.context().close();
    });
  }

  for (const code of [1001, 1008, 1011, 1013, 4408, 4429]) {
    test(`resumes after ${code}`, async () => {
      const { page, sockets } = await stage([
        (socket) => socket.say(joined()),
        (socket) => socket.say({ type: 'Resumed', seq: 2, outcome: 'full' }),
      ]);
      await join(page);
      await sockets[0]?.close(code);
      await until(() => page.evaluate(() => window.client.state === 'joined' && window.heard.some(({ type }) => type === 'Resumed')), { what: 'the resumption' });
      assert.equal(sockets[1]?.hello.type, 'Resume');
      await page.context().close();
    });
  }

  test('joins on the same socket when its session is unknown', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined()),
      (socket) => socket.say({ type: 'Error', seq: 1, code: 'session_unknown', message: 'over', retryable: false }),
    ]);
    await join(page);
    await sockets[0]?.close(1011);
    await until(() => sockets[1]?.of('Join').length === 1, { what: 'the join' });
    sockets[1]?.say(joined(2, { session_id: 'second' }), message(3));
    await until(async () => (await numbers(page)).includes(3), { what: 'a message of the new session' });
    assert.deepEqual([sockets.length, sockets[1]?.of('Join')[0].user_id], [2, 'me']);
    await page.context().close();
  });

  test('ends when its resume token is refused', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined()),
      (socket) => {
        socket.say({ type: 'Error', seq: 1, code: 'unauthorised', message: 'The token is wrong.', retryable: false });
        socket.close(4401);
      },
    ]);
    await join(page);
    await sockets[0]?.close(1011);
    assert.equal((await until(() => ended(page), { what: 'the end' })).code, 4401);
    assert.equal(sockets.length, 2);
    await page.context().close();
  });

  test('waits as long as a busy node asks, and joins then', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say({ type: 'Error', seq: 1, id: 'join', code: 'overloaded', message: 'busy', retryable: true, retry_after_ms: 700 }),
      (socket) => socket.say(joined()),
    ]);
    assert.equal(await join(page), 'joined');
    assert.ok((sockets[1]?.openedAt ?? 0) - (sockets[0]?.openedAt ?? 0) > 650);
    await page.context().close();
  });

  test('asks after a heartbeat of silence, and gives the socket up after another', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(1, { heartbeat_ms: 400 })),
      (socket) => socket.say({ type: 'Resumed', seq: 2, outcome: 'full' }),
    ]);
    await join(page);
    await until(() => sockets[1]?.hello, { what: 'another socket', timeoutMs: 5_000 });
    assert.equal(sockets[0]?.of('Ping').length, 1);
    const waited = (sockets[1]?.openedAt ?? 0) - (sockets[0]?.openedAt ?? 0);
    assert.ok(waited > 750, `${waited} ms`);
    await page.context().close();
  });

  test('a page that was held up itself asks once more before it gives the socket up', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(1, { heartbeat_ms: 1_000 })),
      (socket) => socket.say({ type: 'Resumed', seq: 2, outcome: 'full' }),
    ]);
    await join(page);
    await until(() => sockets[0]?.of('Ping').length === 1, { what: 'a ping' });
    // Nothing runs in the page while the deadline passes; afterwards it is too late to tell whose fault the silence was.
    const freedAt = await page.evaluate(() => {
      for (const until = performance.now() + 4_000; performance.now() < until;);
      return Date.now();
    });
    await until(() => sockets[1]?.hello, { what: 'another socket' });
    assert.ok((sockets[1]?.openedAt ?? 0) - freedAt > 800, 'it listened for a heartbeat again');
    await page.context().close();
  });

  test('waits longer after each attempt that fails, once nobody waits for it', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(1, { limits: { grace_ms: 1 } })),
      (socket) => socket.close(1013),
    ]);
    await page.evaluate(() => { Math.random = () => 0.99; });
    await join(page);
    await sockets[0]?.close(1013);
    await until(() => sockets.length >= 5, { what: 'four attempts' });
    const gaps = sockets.slice(2, 5).map((socket, index) => socket.openedAt - (sockets[index + 1]?.openedAt ?? 0));
    gaps.forEach((gap, index) => assert.ok(gap >= 290 * 2 ** (index + 1), `${gaps}`));
    await page.context().close();
  });

  test('keeps within the rate that the node allows', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(1, { limits: { messages_burst: 40, messages_per_sec: 100 } })),
    ]);
    await join(page);
    const from = Date.now();
    await page.evaluate(() => { for (let number = 0; number < 100; number++) window.ask(number, { type: 'Message', data: number }); });
    await until(() => sockets[0]?.of('Message').length === 100, { what: 'all of them', everyMs: 20 });
    const tookMs = Date.now() - from;
    assert.ok(tookMs > 850, `a burst of 30 and 75/s after it take 0.93 s, not ${tookMs} ms`);
    assert.deepEqual(sockets[0]?.of('Message').map(({ data }) => data), Array.from({ length: 100 }, (_, number) => number));
    await page.context().close();
  });

  test('a call tells exactly what a snapshot changed', async () => {
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(1, { participants: [user('goes'), user('stays'), user('changes')] })),
      (socket) => socket.say({
        type: 'Resumed', seq: 50, outcome: 'snapshot',
        ...roster({ participants: [user('stays'), user('changes', { state: 'suspect', metadata: { audio: true } }), user('comes')] }),
      }),
    ]);
    await page.evaluate(async (library) => {
      const { Call } = await import(library);
      const call = (window.call = new Call({ room: 'room', userId: 'me' }));
      await call.join();
      window.told = [];
      call.addEventListener('participant', ({ detail: { kind, participant } }) => window.told.push([kind, participant.userId, participant.state]));
      call.addEventListener('joined', ({ detail }) => window.told.push(['joined', detail.outcome]));
    }, LIBRARY);
    await sockets[0]?.close(1001);
    await until(() => page.evaluate(() => window.told.at(-1)?.[1] === 'snapshot' || window.told.some(([, outcome]) => outcome === 'snapshot')), { what: 'the snapshot' });
    const told = await page.evaluate(() => window.told.slice(0, window.told.findIndex(([, outcome]) => outcome === 'snapshot') + 1));
    const differences = told.filter(([kind, who]) => kind !== 'updated' || who === 'changes');
    assert.deepEqual(differences, [
      ['left', 'goes', 'present'], ['updated', 'changes', 'suspect'], ['joined', 'comes', 'present'], ['joined', 'snapshot'],
    ]);
    // Everyone who is there is offered a connection again, also those whose answer was lost.
    await until(() => ['stays', 'changes', 'comes'].every((id) => sockets[1]?.of('Offer').some(({ target_user_id }) => target_user_id === id)), { what: 'three offers' });
    await page.context().close();
  });

  test('news of somebody who has left does not bring them back', async () => {
    const { page } = await stage([
      (socket) => socket.say(joined(1, { participants: [user('ann'), user('bob')] }),
        { type: 'UserLeft', seq: 2, room_name: 'room', user_id: 'ann', reason: 'left' },
        { type: 'UserUpdated', seq: 3, room_name: 'room', user: user('ann', { state: 'suspect' }) },
        { type: 'UserUpdated', seq: 4, room_name: 'room', user: user('bob', { state: 'suspect' }) }),
    ]);
    await page.evaluate(async (library) => {
      const { Call } = await import(library);
      window.call = new Call({ room: 'room', userId: 'me' });
      await window.call.join();
    }, LIBRARY);
    await until(() => page.evaluate(() => window.call.participants.get('bob')?.state === 'suspect'), { what: 'the last news' });
    assert.equal(await page.evaluate(() => window.call.participants.has('ann')), false);
    await page.context().close();
  });

  test('an offer from somebody who is not known yet is answered when they are', async () => {
    const { page, sockets } = await stage([(socket) => socket.say(joined())]);
    const sdp = await page.evaluate(async (library) => {
      const { Call } = await import(library);
      window.call = new Call({ room: 'room', userId: 'me' });
      await window.call.join();
      const pc = new RTCPeerConnection();
      pc.addTransceiver('audio');
      await pc.setLocalDescription();
      return pc.localDescription.sdp;
    }, LIBRARY);
    sockets[0]?.say({ type: 'Offer', seq: 2, room_name: 'room', from_user_id: 'ann', sdp });
    sockets[0]?.say({ type: 'UserJoined', seq: 3, room_name: 'room', user: user('ann') });
    await until(() => sockets[0]?.of('Answer').some(({ target_user_id }) => target_user_id === 'ann'), { what: 'the answer' });
    await page.context().close();
  });

  test('while the node waits for the session, the pauses between attempts stay short', async () => {
    const limits = { grace_ms: 60_000 };
    const { page, sockets } = await stage([
      (socket) => socket.say(joined(1, { limits })),
      (socket) => socket.close(1011),
    ]);
    await page.evaluate(async (library) => {
      const { SignalingClient } = await import(library);
      // Chance always chooses the longest pause, and pauses pass quickly.
      Math.random = () => 1;
      const setTimer = window.setTimeout.bind(window);
      window.pauses = [];
      window.setTimeout = /** @type {any} */ ((/** @type {() => void} */ act, /** @type {number} */ ms) => {
        window.pauses.push(ms);
        return setTimer(act, ms >= 300 && ms < 9_000 ? 5 : ms);
      });
      await new SignalingClient().join({ room: 'room' });
    }, LIBRARY);
    await sockets[0]?.close(1001);
    await until(() => sockets.length >= 9, { what: 'an eighth attempt' });
    const pauses = await page.evaluate(() => window.pauses);
    assert.deepEqual([300, 600, 1_200, 1_500, 2_400, 4_800].filter((pause) => pauses.includes(pause)), [300, 600, 1_200, 1_500]);
    await page.context().close();
  });

  test('what changes while the room is being entered is told once one is in', async () => {
    const { page, sockets } = await stage([(socket) => void setTimeout(() => socket.say(joined()), 50)]);
    await page.evaluate(async (library) => {
      const { Call } = await import(library);
      const call = new Call({ room: 'room', metadata: { hand: 'down' } });
      const joining = call.join();
      await new Promise((resolve) => { setTimeout(resolve, 0); });
      await call.update({ hand: 'up' });
      await joining;
    }, LIBRARY);
    const update = await until(() => sockets[0]?.of('Update').at(-1), { what: 'the update' });
    assert.equal(sockets[0]?.hello.metadata.hand, 'down');
    assert.equal(update.metadata.hand, 'up');
    await page.context().close();
  });

  describe('a peer link', () => {
    /**
     * Two links in one window, whose signals pass through `order` and arrive one after the other.
     * @param {import('playwright-core').Page} page
     * @param {'candidates first' | 'both offer' | 'impolite offer lost' | 'first offers lost'} order
     */
    const connect = (page, order) => page.evaluate(async ([library, how]) => {
      const { PeerLink } = await import(library);
      const tracks = { audio: null, video: null, screen: null, screenAudio: null };
      const links = {};
      const held = { ann: [], bob: [] };
      const lost = new Set();
      const deliver = (to, { type, sdp, candidate }) => {
        if (type === 'Offer') links[to].takeOffer(sdp);
        else if (type === 'Answer') links[to].takeAnswer(sdp);
        else links[to].takeCandidate(candidate);
      };
      /** Descriptions wait until the sender has no more candidates, so that every candidate comes before them. */
      const send = (to) => async (command) => {
        const loses = how === 'first offers lost' || (how === 'impolite offer lost' && to === 'ann');
        if (loses && command.type === 'Offer' && !lost.has(to)) return void lost.add(to);
        if (how !== 'candidates first') return void setTimeout(() => deliver(to, command), 30);
        if (command.type !== 'IceCandidate') return void held[to].push(command);
        deliver(to, command);
        if (command.candidate === null) held[to].splice(0).forEach((description) => deliver(to, description));
      };
      const options = { canSignal: () => true, iceServers: () => [], tracks };
      links.ann = new PeerLink({ ...options, polite: true, signal: send('bob') });
      links.bob = new PeerLink({ ...options, polite: false, signal: send('ann') });
      links.ann.start();
      if (how !== 'candidates first') links.bob.start();
      else links.bob.expect();
      window.links = links;
    }, /** @type {const} */ ([LIBRARY, order]));

    /** @param {import('playwright-core').Page} page */
    const connected = (page) => page.evaluate(() => Object.values(window.links).every(({ pc, state }) => state === 'connected' && pc.signalingState === 'stable'));

    for (const order of /** @type {const} */ (['candidates first', 'both offer', 'impolite offer lost', 'first offers lost'])) {
      test(`connects: ${order}`, async () => {
        const { page } = await stage([() => {}]);
        await page.evaluate(() => navigator.mediaDevices.getUserMedia({ audio: true }));
        await connect(page, order);
        await until(() => connected(page), { what: 'both ends connected', timeoutMs: order === 'first offers lost' ? 40_000 : 6_000 });
        assert.deepEqual(await page.evaluate(() => Object.values(window.links).map(({ pc }) => pc.getTransceivers().map(({ mid, currentDirection }) => `${mid} ${currentDirection}`))),
          Array(2).fill(['0 sendrecv', '1 sendrecv', '2 sendrecv', '3 sendrecv']));
        await page.context().close();
      });
    }
  });
});
