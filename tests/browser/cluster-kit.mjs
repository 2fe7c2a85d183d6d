/**
 * A whole cluster for browser tests, as `scripts/cluster` starts it: Redis, PostgreSQL, three nodes on one folder, and nginx
 * with its shipped configuration in front of them. It is no test itself.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE_BINARY, skipReason, until } from './harness.mjs';

const SCRIPT = fileURLToPath(new URL('../../scripts/cluster', import.meta.url));
/** Where Debian has the programs of PostgreSQL; the script finds them. */
const POSTGRES_VERSIONS = '/usr/lib/postgresql';
const START_MS = 60_000;
const STOP_MS = 20_000;

/**
 * Why a cluster cannot run here, or `false`; nothing is skipped in CI.
 * @returns {string | false}
 */
export function clusterSkipReason() {
  const reason = skipReason();
  if (reason || process.env.CI) return reason;
  const missing = ['redis-server', 'nginx'].filter((program) => !isHere(program));
  if (!isHere('postgres') && !existsSync(POSTGRES_VERSIONS)) missing.push('postgres');
  return missing.length > 0 && `not found: ${missing.join(', ')}`;
}

/** @param {string} program */
function isHere(program) {
  try {
    execFileSync(program, ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * @param {{ sticky?: boolean, env?: Record<string, string> }} [options] env: settings that differ
 */
export async function startCluster({ sticky = false, env: settings = {} } = {}) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'greenroom-'));
  /** Parts that were started again, by name. @type {Map<string, import('node:child_process').ChildProcess>} */
  const revived = new Map();
  /** @type {Set<string>} */
  const down = new Set();
  const env = { ...process.env, GREENROOM_BIN: path.resolve(NODE_BINARY), PORT: '0', STORAGE_LOCAL_PATH: folder, DRAIN_DEADLINE_SECS: '1', ...settings };
  const child = spawn(SCRIPT, [...(sticky ? ['--sticky'] : []), '3'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const killAll = () => [child, ...revived.values()].forEach((one) => one.kill('SIGTERM'));
  process.on('exit', killAll);
  let [said, errors] = ['', ''];
  child.stdout.on('data', (text) => { said += text; });
  child.stderr.on('data', (text) => { errors += text; });
  const exited = new Promise((resolve) => child.on('close', resolve));
  await until(() => child.exitCode !== null || said.includes('Ctrl-C stops all.'), { what: 'a cluster', timeoutMs: START_MS });
  if (child.exitCode !== null) throw new Error(`scripts/cluster ended: ${errors}`);

  const parts = [...said.matchAll(/^ {2}(\S+) +(\S+?)\/? +pid (\d+)/gm)].map(([, name = '', url = '', pid]) => ({ name, url, pid: Number(pid) }));
  const part = (/** @type {string} */ name) => {
    const found = parts.find((one) => one.name === name);
    if (!found) throw new Error(`no ${name} in:\n${said}`);
    return found;
  };
  return {
    /** Of nginx, without a slash at the end. */
    url: part('nginx').url,
    /** Of one node. @param {string} id */
    urlOf: (id) => part(id).url,
    /** Of the nodes that have not been ended. */
    nodes: () => parts.filter(({ name }) => name.startsWith('node-') && !down.has(name)).map(({ name }) => name),
    /** As `GET /api/cluster` tells it. */
    picture: async () => (await fetch(`${part('nginx').url}/api/cluster`)).json(),
    /** Sends a part a signal, as a rule one that ends it. @param {string} name @param {NodeJS.Signals} [signal] */
    kill(name, signal = 'SIGKILL') {
      process.kill(revived.get(name)?.pid ?? part(name).pid, signal);
      if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') down.add(name);
    },
    /** Starts a part that has ended again, as the script says that it is done. @param {string} name */
    async revive(name) {
      const said = new RegExp(`${name} has ended with .*\\n +(.*)\\n`);
      const [, command = ''] = await until(() => errors.match(said), { what: `the way to start ${name} again` });
      revived.set(name, spawn('sh', ['-c', `exec ${command}`], { cwd: folder, env, stdio: 'ignore' }));
      if (name.startsWith('node-')) await until(async () => (await fetch(`${part(name).url}/health/ready`)).ok, { what: `${name} again`, timeoutMs: START_MS });
      down.delete(name);
    },
    async stop() {
      killAll();
      const hard = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      if (child.exitCode === null && child.signalCode === null) await exited;
      clearTimeout(hard);
      process.off('exit', killAll);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
