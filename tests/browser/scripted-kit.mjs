/**
 * A node that follows a script, for tests of the library: the script plays the node's side of the WebSocket; the page, its
 * timers and its WebRTC are real. It is no test itself.
 */
import { after, before, describe } from 'node:test';
import { skipReason, startBrowser, startNode } from './harness.mjs';

export const LIBRARY = '/static/js/index.js';

/** Of all tests of a file. @type {Awaited<ReturnType<typeof startNode>>} */
let node;
/** Of all tests of a file. @type {Awaited<ReturnType<typeof startBrowser>>} */
let browser;

export const user = (/** @type {string} */ user_id, more = {}) =>
  ({ user_id, username: user_id, role: 'participant', state: 'present', metadata: {}, ...more });
export const roster = (more = {}) => ({
  room_name: 'room', user_id: 'me', session_id: 'session', resume_token: 'token', role: 'participant',
  participants: [], locked: false, recording: false, ice_servers: [], node_id: 'scripted', heartbeat_ms: 60_000, ...more,
});
export const joined = (seq = 1, more = {}) => ({ type: 'RoomJoined', seq, ...roster(more) });
export const message = (/** @type {number} */ seq) => ({ type: 'Message', seq, room_name: 'room', from_user_id: 'ann', data: seq });

/**
 * A window whose sockets are played by `script`, once for each socket in turn.
 * @param {((socket: Socket, hello: any) => void)[]} scripts by the number of the socket; the last goes on for all after it
 */
export async function stage(scripts) {
  const page = await browser.open();
  /** @type {Socket[]} */
  const sockets = [];
  await page.routeWebSocket(/\/ws(\?|$)/, (route) => {
    const socket = new Socket(route);
    const script = scripts[Math.min(sockets.length, scripts.length - 1)];
    sockets.push(socket);
    route.onMessage((text) => socket.hear(JSON.parse(String(text)), script));
    route.onClose(() => { socket.closed = true; });
  });
  await page.goto(`${node.url}/health/live`);
  return { page, sockets };
}

/** The node's end of one socket. */
export class Socket {
  /** Everything after the hello. @type {any[]} */
  heard = [];
  /** @type {any} */
  hello = null;
  closed = false;
  /** Told of everything after the hello. @type {(command: any) => void} */
  onCommand = () => {};
  openedAt = Date.now();

  /** @param {import('playwright-core').WebSocketRoute} route */
  constructor(route) {
    this.route = route;
    this.url = new URL(route.url());
  }

  /** @param {any} command @param {((socket: Socket, hello: any) => void) | undefined} script */
  hear(command, script) {
    if (this.hello) {
      this.heard.push(command);
      return this.onCommand(command);
    }
    this.hello = command;
    script?.(this, command);
  }

  /** @param {(object | string)[]} messages */
  say(...messages) {
    for (const one of messages) this.route.send(typeof one === 'string' ? one : JSON.stringify(one));
  }

  /** @param {number} code */
  close(code) {
    return this.route.close({ code });
  }

  /** @param {string} type */
  of(type) {
    return this.heard.filter((command) => command.type === type);
  }
}

/** @param {import('playwright-core').Page} page */
export function join(page) {
  return page.evaluate(async (library) => {
    const { SignalingClient } = await import(library);
    const client = (window.client = new SignalingClient());
    window.heard = [];
    for (const type of ['RoomJoined', 'Resumed', 'Message', 'Error', 'state', 'ended']) {
      client.addEventListener(type, ({ detail }) => window.heard.push({ type, ...detail }));
    }
    window.answers = {};
    window.ask = (name, command) => void client.send(command).then(() => 'accepted', ({ code }) => code).then((answer) => { window.answers[name] = answer; });
    return client.join({ room: 'room', userId: 'me' }).then(() => 'joined', ({ code }) => code);
  }, LIBRARY);
}

/** @param {import('playwright-core').Page} page */
export const numbers = (page) => page.evaluate(() => window.heard.filter(({ type }) => type === 'Message').map(({ data }) => data));
/** @param {import('playwright-core').Page} page */
export const ended = (page) => page.evaluate(() => window.heard.find(({ type }) => type === 'ended'));
/** @param {import('playwright-core').Page} page */
export const answers = (page) => page.evaluate(() => window.answers);

/**
 * Tests that use `stage`.
 * @param {string} what
 * @param {() => void} tests
 */
export function describeScripted(what, tests) {
  describe(what, { skip: skipReason(), timeout: 300_000 }, () => {
    before(async () => {
      node = await startNode();
      browser = await startBrowser();
    });
    after(async () => {
      await browser?.stop();
      await node?.stop();
    });

    tests();
  });
}
