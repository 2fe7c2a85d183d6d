/**
 * The pages in a real browser against a real node: what people do, what they see, and what they are told when
 * something is in the way.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loseMedia, startBrowser, startNode, startWire, until } from './harness.mjs';
import { chromium, describePages, node } from './pages-kit.mjs';
import { SMALL_WINDOW, disperse, enterRoom, inCall, join, moving, noticed, othersSeen, say } from './visitors.mjs';

/** @typedef {import('playwright-core').Page} Page */

const LOST_MS = 5_000;
/** Nine people are 72 pictures to encode and as many to decode, all on the machine that runs the test. */
const CROWD_MS = 180_000;

/**
 * Runs in a page: whether no tile is cut off.
 * @returns {boolean}
 */
function allInside() {
  return [...document.querySelectorAll('.tile')].every((tile) => {
    const [list, box] = [tile.parentElement?.getBoundingClientRect(), tile.getBoundingClientRect()];
    return list && box.width > 40 && box.top >= list.top && box.bottom <= list.bottom && box.left >= list.left && box.right <= list.right;
  });
}

describePages('pages', 1_200_000, () => {
  let rooms = 0;
  const newRoom = () => `${node.url}/room/test-${(rooms += 1)}`;

  /** @param {string} url @param {...string} names */
  const meet = async (url, ...names) => {
    const pages = [];
    for (const name of names) {
      const page = await chromium.open();
      await enterRoom(page, url, name);
      pages.push(page);
    }
    for (const page of pages) await othersSeen(page, names.length - 1);
    return /** @type {[Page, Page, ...Page[]]} */ (pages);
  };

  /** @param {Page} page @param {string} name @param {string} room */
  const comeByLanding = async (page, name, room) => {
    await page.goto(node.url);
    await page.fill('#name', name);
    await page.fill('#room', room);
    await page.press('#room', 'Enter');
    await page.waitForURL(`**/room/${room.replaceAll(' ', '-')}`);
    assert.equal(await page.inputValue('#your-name'), name, 'the name is filled in');
    await page.locator('#prejoin button.primary').focus();
    await page.keyboard.press('Enter');
    await inCall(page);
  };

  test('two people meet from the landing page, see and hear each other, write, reload', async () => {
    const [ada, bob] = [await chromium.open(), await chromium.open()];
    await comeByLanding(ada, 'Ada', 'first meeting');
    await comeByLanding(bob, 'Bob', 'first-meeting');
    await moving(ada);
    await moving(bob);

    await say(ada, 'Good morning');
    await bob.waitForSelector('button[data-panel=chat][aria-label="Chat, 1 unread"]');
    await say(bob, 'Hello Ada');
    await bob.waitForSelector('button[data-panel=chat][aria-label="Chat"]');
    await ada.locator('.chat-text', { hasText: 'Hello Ada' }).waitFor();
    assert.deepEqual(await bob.locator('.chat-name').allTextContents(), ['Ada', 'You']);

    await bob.keyboard.press('Escape');
    await bob.keyboard.press('m');
    await ada.locator('.tile:nth-child(2) .tile-mic').waitFor();
    await bob.reload();
    await inCall(bob);
    assert.equal(await bob.getAttribute('.bar [data-act=audio]', 'aria-pressed'), 'false', 'who was muted stays muted');
    await bob.keyboard.press('m');
    await moving(ada);
    await moving(bob);
  });

  test('who loses the network for five seconds stays in the call', async () => {
    // On a busy machine five seconds take longer, and the grace must not end before them.
    const patient = await startNode({ env: { SESSION_GRACE_SECS: '20' } });
    const wire = await startWire(patient.port);
    const url = `${patient.url}/room/outage`;
    const ada = await chromium.open(undefined, { losable: true });
    const bob = await chromium.open();
    await enterRoom(ada, url.replace(patient.url, wire.url), 'Ada');
    await enterRoom(bob, url, 'Bob');
    await moving(bob);
    await bob.evaluate(() => {
      document.querySelectorAll('.tile')[1]?.setAttribute('data-same', '');
      window.greenroomCall?.addEventListener('participant', ({ detail }) => {
        if (detail.kind === 'left') document.body.dataset.somebodyLeft = '';
      });
    });

    wire.down();
    await loseMedia(ada, true);
    const backAt = Date.now() + LOST_MS;
    await ada.locator('#banner[data-tone=warning]', { hasText: 'Reconnecting' }).waitFor();
    await bob.locator('.tile[data-same][data-away] .tile-veil', { hasText: 'Reconnecting' }).waitFor();
    assert.match(await bob.locator('.tile[data-same] video').evaluate((video) => getComputedStyle(video).filter), /grayscale/);
    await until(() => Date.now() >= backAt, { what: 'five seconds', timeoutMs: LOST_MS + 1000 });
    await loseMedia(ada, false);
    wire.up();
    // As a browser does when its network is back; nothing else here can make it believe so.
    await ada.evaluate(() => dispatchEvent(new Event('online')));

    await ada.locator('#banner[data-tone=good]').waitFor();
    await moving(ada);
    await moving(bob);
    assert.equal(await bob.locator('.tile[data-same]').count(), 1, 'the tile remained');
    assert.equal(await bob.getAttribute('body', 'data-somebody-left'), null, 'nobody left');
    await say(ada, 'Here I am again');
    await bob.waitForSelector('button[data-panel=chat][aria-label="Chat, 1 unread"]');
    await disperse(ada, bob);
    await wire.stop();
    await patient.stop();
    // The browser itself reports the sockets that were refused meanwhile.
    chromium.complaints.splice(0, Infinity, ...chromium.complaints.filter((line) => !line.includes('WebSocket connection')));
  });

  test('a server that is cut off says so until it is not', async () => {
    const ada = await chromium.open();
    let heard = 0;
    /** @type {(isolated: boolean) => void} */
    let snapshot = () => {};
    await ada.routeWebSocket(/\/ws\?/, (route) => {
      const server = route.connectToServer();
      server.onMessage((message) => {
        const event = JSON.parse(String(message));
        heard = event.seq;
        if (event.type !== 'RoomJoined') return route.send(message);
        route.send(JSON.stringify({ ...event, isolated: true }));
        snapshot = (isolated) => route.send(JSON.stringify({ ...event, type: 'Resumed', outcome: 'snapshot', seq: heard + 1, isolated }));
      });
    });
    await enterRoom(ada, newRoom(), 'Ada');
    await ada.locator('[aria-live] [data-badge=isolated]', { hasText: 'Server cut off' }).waitFor();
    await ada.locator('.toast', { hasText: 'This server is cut off from the others.' }).waitFor();
    snapshot(false);
    await ada.locator('[data-badge=isolated]').waitFor({ state: 'hidden' });
    await ada.locator('.toast', { hasText: 'The servers are together again.' }).waitFor();
  });

  test('a third and a ninth join, and everyone sees eight others', async () => {
    const url = `${newRoom()}?video=small`;
    const pages = [];
    // All windows are opened before the first call begins: a machine that carries one opens pages slowly.
    for (let count = 1; count <= 9; count += 1) {
      const page = await chromium.open(undefined, { viewport: SMALL_WINDOW });
      page.setDefaultTimeout(CROWD_MS);
      await page.goto(url);
      pages.push(page);
    }
    for (const [place, page] of pages.entries()) {
      await join(page, `Guest ${place + 1}`, { muted: place > 1 });
      if (place === 2) for (const each of pages.slice(0, 3)) await othersSeen(each, 2);
    }
    for (const page of pages) await othersSeen(page, 8, CROWD_MS);

    const [first, second] = /** @type {[Page, Page]} */ (/** @type {unknown} */ (pages));
    await second.setViewportSize({ width: 1280, height: 800 });
    await second.click('.bar [data-act=share]');
    for (const viewport of [{ width: 1280, height: 800 }, { width: 1366, height: 640 }, { width: 390, height: 844 }]) {
      await first.setViewportSize(viewport);
      await first.waitForSelector('.tile[data-kind=screen]');
      await until(() => first.evaluate(allInside), { what: `nine people and a screen seen at ${viewport.width} pixels`, timeoutMs: CROWD_MS });
    }
  });

  test('the picture gets smaller as the call grows', async () => {
    const height = (/** @type {Page} */ page) => page.locator('.tile video').first().evaluate((video) => /** @type {any} */ (video).videoHeight);
    const url = newRoom();
    const [ada] = await meet(url, 'Ada', 'Bob');
    await until(async () => (await height(ada)) === 720, { what: '720 lines for two' });
    const carl = await chromium.open();
    await enterRoom(carl, url, 'Carl');
    await until(async () => (await height(ada)) === 360, { what: '360 lines for three' });
  });

  test('screen sharing is seen large and ends from the browser’s own bar', async () => {
    const ada = await chromium.open();
    await ada.addInitScript(() => {
      const ask = navigator.mediaDevices.getDisplayMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getDisplayMedia = async (options) => {
        const stream = await ask(options);
        Object.assign(window, { endSharing: () => stream.getVideoTracks()[0]?.dispatchEvent(new Event('ended')) });
        return stream;
      };
    });
    const bob = await chromium.open();
    const url = newRoom();
    await enterRoom(ada, url, 'Ada');
    await enterRoom(bob, url, 'Bob');
    await othersSeen(bob, 1);
    await ada.click('.bar [data-act=share]');
    await bob.waitForSelector('#floor[data-layout=stage] .tile[data-kind=screen][data-picture]');
    assert.equal(await ada.getAttribute('.bar [data-act=share]', 'aria-pressed'), 'true');
    await ada.evaluate(() => /** @type {any} */ (window).endSharing());
    await ada.locator('.toast', { hasText: 'Screen sharing ended' }).waitFor();
    await bob.waitForSelector('#floor[data-layout=grid]');
    assert.equal(await ada.getAttribute('.bar [data-act=share]', 'aria-pressed'), 'false');
  });

  test('a device that goes away is replaced, and that is said', async () => {
    const ada = await chromium.open();
    await ada.addInitScript(() => {
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (options) => {
        const stream = await ask(options);
        const [camera] = stream.getVideoTracks();
        if (camera) Object.assign(window, { unplug: () => (camera.stop(), camera.dispatchEvent(new Event('ended'))) });
        return stream;
      };
    });
    await enterRoom(ada, newRoom(), 'Ada');
    await ada.waitForSelector('.tile[data-picture]');
    await ada.evaluate(() => /** @type {any} */ (window).unplug());
    await ada.locator('.toast', { hasText: 'is gone. Another camera is used now.' }).waitFor();
    // The page draws in the next frame.
    await ada.waitForSelector('.bar [data-act=video][aria-pressed=true]');
  });

  test('a denied camera is explained, and one can join without', async () => {
    const denying = await startBrowser({ args: ['--use-fake-ui-for-media-stream=deny'] });
    const page = await denying.open(newRoom(), { permissions: [] });
    const note = page.locator('.note', { hasText: 'Camera and microphone' });
    await note.getByRole('button', { name: 'Try again' }).waitFor();
    assert.match(await note.innerText(), /join without/);
    await page.fill('#your-name', 'Ada');
    await page.press('#your-name', 'Enter');
    await inCall(page);
    await page.keyboard.press('v');
    await page.locator('.toast', { hasText: 'Camera' }).waitFor();
    assert.deepEqual(denying.complaints, []);
    await denying.stop();
  });

  test('without a camera one is heard, and told why nobody sees one', async () => {
    const bare = await startBrowser({ args: ['--use-fake-device-for-media-stream=device-count=0'] });
    const page = await bare.open(newRoom());
    await page.locator('.note', { hasText: 'No camera found' }).waitFor();
    await page.waitForSelector('#prejoin [data-toggle=audio][aria-pressed=true]');
    await page.fill('#your-name', 'Ada');
    await page.press('#your-name', 'Enter');
    await inCall(page);
    assert.equal(await page.getAttribute('.tile', 'aria-label'), 'Ada, you, camera off');
    assert.deepEqual(bare.complaints, []);
    await bare.stop();
  });

  test('on an insecure address one is told so, and can watch and chat', async () => {
    const mapped = await startBrowser({ args: ['--host-resolver-rules=MAP greenroom.test 127.0.0.1'] });
    const url = newRoom();
    const ada = await chromium.open();
    await enterRoom(ada, url, 'Ada');
    const bob = await mapped.open(undefined, { permissions: [] });
    await bob.goto(url.replace('127.0.0.1', 'greenroom.test'));
    await bob.locator('.note', { hasText: 'need a secure address' }).waitFor();
    await bob.fill('#your-name', 'Bob');
    await bob.press('#your-name', 'Enter');
    await inCall(bob);
    await othersSeen(bob, 1);
    await say(bob, 'I can only watch');
    await ada.waitForSelector('button[data-panel=chat][aria-label="Chat, 1 unread"]');
    assert.deepEqual(mapped.complaints, []);
    await mapped.stop();
  });

  test('a full room says so, and lets in when somebody has left', async () => {
    const small = await startNode({ env: { ROOM_MAX_PARTICIPANTS: '2' } });
    const [ada] = await meet(`${small.url}/room/small`, 'Ada', 'Bob');
    const carl = await chromium.open();
    await enterRoom(carl, `${small.url}/room/small`, 'Carl', { stay: false });
    await noticed(carl, 'room_full');
    await ada.click('.bar [data-act=leave]');
    await noticed(ada, 'left');
    await carl.getByRole('button', { name: 'Try again' }).click();
    await inCall(carl);
    await othersSeen(carl, 1);
    await disperse(...chromium.browser.contexts().flatMap((context) => context.pages()));
    await small.stop();
  });

  test('the moderator mutes, locks and removes', async () => {
    const url = newRoom();
    const [ada, bob] = await meet(url, 'Ada', 'Bob');
    await ada.click('button[data-panel=people]');
    await ada.getByRole('button', { name: 'Mute Bob' }).click();
    await bob.locator('.toast', { hasText: 'Ada muted your microphone.' }).waitFor();
    await bob.waitForSelector('.bar [data-act=audio][aria-pressed=false]');
    await ada.getByRole('img', { name: 'Microphone off' }).waitFor();
    await bob.click('button[data-panel=people]');
    assert.equal(await bob.getByRole('button', { name: /^(Mute|Remove)/ }).count(), 0, 'only the moderator can');

    await ada.click('#people [data-act=lock]');
    await bob.waitForSelector('[data-badge=locked]:not([hidden])');
    const carl = await chromium.open();
    await enterRoom(carl, url, 'Carl', { stay: false });
    await noticed(carl, 'room_locked');
    await ada.click('#people [data-act=lock][aria-pressed=true]');
    await bob.waitForSelector('[data-badge=locked]', { state: 'hidden' });
    await carl.getByRole('button', { name: 'Try again' }).click();
    await inCall(carl);

    await ada.getByRole('button', { name: 'Remove Bob' }).click();
    await ada.getByRole('alertdialog').getByRole('button', { name: 'Cancel' }).click();
    await ada.getByRole('button', { name: 'Remove Bob' }).click();
    await ada.getByRole('alertdialog').getByRole('button', { name: 'Remove' }).click();
    await noticed(bob, 'kicked');
    await ada.locator('.toast', { hasText: 'Bob was removed.' }).waitFor();
    await othersSeen(ada, 1);
    await ada.click('.bar [data-act=leave]');
    await carl.locator('.toast', { hasText: 'You are the moderator now' }).waitFor();
  });

  test('opened twice, the call moves over and back', async () => {
    const url = newRoom();
    const [ada, bob] = await meet(url, 'Ada', 'Bob');
    const again = await ada.context().newPage();
    await again.goto(url);
    await again.getByRole('button', { name: 'Move the call here' }).click();
    await inCall(again);
    await noticed(ada, 'replaced');
    await othersSeen(bob, 1);
    await ada.getByRole('button', { name: 'Use here' }).click();
    await inCall(ada);
    await noticed(again, 'replaced');
    await othersSeen(bob, 1);
    await othersSeen(ada, 1);
  });

  test('a name or a message that is markup is text', async () => {
    const name = '<img src=x onerror=alert(1)>';
    const [ada, bob] = await meet(newRoom(), name, 'Bob');
    await bob.click('button[data-panel=people]');
    assert.deepEqual(await bob.locator('.roster-name').allTextContents(), ['Bob', name]);
    assert.equal(await bob.locator('.tile bdi').nth(1).textContent(), name);
    await say(ada, '<script>alert(1)</script>');
    await bob.click('button[data-panel=chat]');
    assert.equal(await bob.locator('.chat-text').first().textContent(), '<script>alert(1)</script>');
    assert.equal(await bob.locator('#call img[src=x], #call script').count(), 0);
  });

  test('everything works by keyboard alone', async () => {
    const page = await chromium.open(node.url);
    await page.keyboard.type('Ada');
    await page.keyboard.press('Tab');
    assert.match(await page.inputValue('#room'), /^[a-z]+-[a-z]+-[a-z]+-\d{3}$/, 'a room is suggested');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/room/*');
    await page.locator('#prejoin button.primary:focus').waitFor();
    await page.keyboard.press('Enter');
    await inCall(page);

    await page.keyboard.press('m');
    await page.waitForSelector('.bar [data-act=audio][aria-pressed=false]');
    await page.keyboard.press('c');
    await page.keyboard.type('mvc?');
    assert.equal(await page.inputValue('#chat-field'), 'mvc?', 'shortcuts rest while typing');
    await page.keyboard.press('Escape');
    await page.locator('#chat').waitFor({ state: 'hidden' });
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('data-panel')), 'chat', 'the focus is given back');
    await page.keyboard.press('?');
    await page.locator('#help[open]').waitFor();
    await page.keyboard.press('Escape');
    await until(async () => {
      await page.keyboard.press('Tab');
      return page.evaluate(() => document.activeElement?.getAttribute('data-act') === 'leave');
    }, { what: 'Leave reached by Tab', everyMs: 0 });
    await page.keyboard.press('Enter');
    await noticed(page, 'left');
  });

  test('a wrong room name is explained, spaces are no fault, a link is understood', async () => {
    const page = await chromium.open(node.url);
    await page.fill('#name', 'Ada');
    await page.fill('#room', 'straße');
    await page.press('#room', 'Enter');
    assert.match(await page.innerText('#room-error'), /cannot contain “ß”/);
    await page.fill('#room', `  ${node.url}/room/by-link?x#y `);
    await page.press('#room', 'Enter');
    await page.waitForURL('**/room/by-link');
  });

  test('nothing scrolls sideways at 360 pixels', async () => {
    const narrow = { viewport: { width: 360, height: 640 } };
    const page = await chromium.open(node.url, narrow);
    const fits = async (/** @type {string} */ what) => {
      const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(excess <= 0, `${what} is ${excess} pixels too wide`);
    };
    await fits('the landing page');
    await page.fill('#room', 'x'.repeat(64));
    await page.fill('#name', 'A very long name that goes on and on and on and on, nearly');
    await page.press('#name', 'Enter');
    await page.waitForURL('**/room/*');
    await fits('the prejoin page');
    await page.locator('#prejoin button.primary').click();
    await inCall(page);
    await fits('the call');
    const other = await chromium.open();
    await enterRoom(other, page.url(), 'W'.repeat(60));
    await othersSeen(page, 1);
    await say(other, 'W'.repeat(400));
    await fits('the call of two');
    for (const panel of ['chat', 'people']) {
      await page.click(`button[data-panel=${panel}]`);
      await fits(`the panel ${panel}`);
    }
    for (const button of await page.locator('.bar button:visible, .panel button:visible').all()) {
      const box = await button.boundingBox();
      assert.ok(box && box.width >= 44 && box.height >= 44, `${await button.getAttribute('aria-label')} is a small target`);
    }
    await page.click('.bar [data-act=leave]');
    await noticed(page, 'left');
    await fits('the page after the call');
    await page.goto(`${node.url}/no/such/page`);
    await fits('the page for what is not there');
    chromium.complaints.splice(0, Infinity, ...chromium.complaints.filter((line) => !line.includes('404')));
  });
});
