/**
 * What every browser test needs: a node on a free loopback port, a Chromium with a fake camera and
 * microphone, a wire between them that can be cut, and waiting with a deadline.
 *
 * It is no test itself, and it knows nothing of the pages. Everything it starts is ended by process
 * id when the test calls `stop()`, and once more when the test process exits.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const NODE_START_MS = 15_000;
const NODE_STOP_MS = 10_000;

/** The binary under test: `$GREENROOM_BIN`, or what `cargo build` left. */
export const NODE_BINARY = path.resolve(process.env.GREENROOM_BIN ?? path.join(ROOT, 'target/debug/greenroom'));
/** The browser: `$CHROMIUM`, or where Debian puts it. */
export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

const CHROMIUM_ARGS = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  // Windows that are not in front must go on at full speed: a call has only one in front.
  '--disable-renderer-backgrounding', '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  // A machine without a network, or without mDNS, still has its loopback interface.
  '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns',
];

/**
 * Why the browser tests cannot run here, or `false`: the value for node:test's `skip`.
 * In CI (`CI` is set) nothing is skipped: a missing tool fails there.
 * @returns {string | false}
 */
export function skipReason() {
  if (process.env.CI) return false;
  const missing = [NODE_BINARY, CHROMIUM].filter((file) => !existsSync(file));
  return missing.length > 0 && `not found: ${missing.join(', ')}`;
}

/** @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

/**
 * Polls `probe` until it gives something truthy, and gives that back.
 * @template T
 * @param {() => T | Promise<T>} probe what it throws counts as "not yet" and is told at the deadline
 * @param {{ what: string, timeoutMs?: number, everyMs?: number }} options `what` is waited for, as the error says it
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(probe, { what, timeoutMs = 15_000, everyMs = 100 }) {
  const deadline = Date.now() + timeoutMs;
  let last;
  for (;;) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last });
    await delay(everyMs);
  }
}

/**
 * Starts one node on a free port and waits until it listens.
 * @param {{ env?: Record<string, string>, args?: string[] }} [options] settings that differ from the defaults
 */
export async function startNode({ env = {}, args = [] } = {}) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'greenroom-'));
  const child = spawn(NODE_BINARY, args, {
    cwd: folder,
    env: { ...process.env, HOST: '127.0.0.1', PORT: '0', STORAGE_LOCAL_PATH: path.join(folder, 'recordings'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  let output = '';
  const collect = (/** @type {Buffer} */ text) => { output = (output + text).slice(-200_000); };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  let failure = '';
  child.on('error', (error) => { failure = error.message; });
  const exited = new Promise((resolve) => child.on('close', resolve));

  const url = await until(() => {
    if (failure || child.exitCode !== null) throw new Error(`the node ended: ${failure}\n${output}`);
    return output.match(/greenroom: (http:\/\/[^\s/]+)/)?.[1];
  }, { what: `the node's address on its output`, timeoutMs: NODE_START_MS });

  return {
    /** `http://127.0.0.1:<port>`, without a slash at the end. */
    url,
    port: Number(new URL(url).port),
    pid: child.pid,
    /** What it wrote so far, both streams. */
    output: () => output,
    /** Sends a signal, and waits for the end where the signal ends it. */
    async kill(/** @type {NodeJS.Signals} */ signal = 'SIGKILL') {
      child.kill(signal);
      if (signal === 'SIGKILL') await exited;
    },
    /** Ends it and removes what it stored. */
    async stop() {
      child.kill('SIGTERM');
      const hard = setTimeout(() => child.kill('SIGKILL'), NODE_STOP_MS);
      if (child.exitCode === null && child.signalCode === null) await exited;
      clearTimeout(hard);
      children.delete(child);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * A TCP relay in front of a node: pages that open its address can lose their network.
 * @param {number} targetPort on loopback
 */
export async function startWire(targetPort) {
  /** @type {Set<net.Socket>} */
  const sockets = new Set();
  let mode = /** @type {'up' | 'silent' | 'down'} */ ('up');
  const server = net.createServer((near) => {
    if (mode === 'down') return void near.destroy();
    const far = net.connect(targetPort, '127.0.0.1');
    for (const [from, to] of [[near, far], [far, near]]) {
      sockets.add(from);
      if (mode === 'silent') from.pause();
      from.on('data', (bytes) => to.write(bytes));
      from.on('error', () => {});
      from.on('close', () => { sockets.delete(from); to.destroy(); });
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}`,
    /** Ends every connection at once; new ones are let in. */
    cut() { sockets.forEach((socket) => socket.destroy()); },
    /** Ends every connection and refuses new ones until `up()`. */
    down() { mode = 'down'; this.cut(); },
    /** Carries nothing and ends nothing, as when a cable is pulled; until `up()`. */
    silent() { mode = 'silent'; sockets.forEach((socket) => socket.pause()); },
    up() { mode = 'up'; sockets.forEach((socket) => socket.resume()); },
    async stop() { this.down(); await new Promise((resolve) => server.close(resolve)); },
  };
}

/**
 * Starts Chromium. Each window is a context of its own, so no storage is shared between participants.
 * @param {{ args?: string[] }} [options]
 */
export async function startBrowser({ args = [] } = {}) {
  const { chromium } = await import('playwright-core');
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: [...CHROMIUM_ARGS, ...args] });
  /** @type {string[]} */
  const complaints = [];
  return {
    browser,
    /** Uncaught errors and console errors of all windows, for a test that wants none. */
    complaints,
    /**
     * Opens an address in a new window. The page must come from the node itself: to one that a route of the test
     * fulfils, Chromium denies sockets on loopback.
     * @param {string} [url]
     * @param {import('playwright-core').BrowserContextOptions & { losable?: boolean }} [options] losable: for `loseMedia`
     */
    async open(url, { losable = false, ...options } = {}) {
      const context = await browser.newContext({ permissions: ['camera', 'microphone'], ...options });
      const page = await context.newPage();
      page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
      page.on('console', (line) => { if (line.type() === 'error') complaints.push(`console: ${line.text()}`); });
      if (losable) await makeLosable(page);
      if (url) await page.goto(url);
      return page;
    },
    async stop() { await browser.close(); },
  };
}

/**
 * Makes a window lose its media (every WebRTC packet), or gives it back. The window must have been
 * opened `losable`. Its signaling socket is lost with `startWire`.
 * @param {import('playwright-core').Page} page
 * @param {boolean} lost
 */
export async function loseMedia(page, lost) {
  const devtools = emulation.get(page);
  if (!devtools) throw new Error('open the window with { losable: true }');
  await devtools.send('Network.emulateNetworkConditions', {
    offline: false, latency: 1, downloadThroughput: -1, uploadThroughput: -1, packetLoss: lost ? 100 : 0,
  });
}

/** @type {WeakMap<import('playwright-core').Page, import('playwright-core').CDPSession>} */
const emulation = new WeakMap();

/** Chromium applies the emulation only to WebRTC sockets that were opened while it was on. */
async function makeLosable(/** @type {import('playwright-core').Page} */ page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Network.enable');
  emulation.set(page, devtools);
  await loseMedia(page, false);
}
