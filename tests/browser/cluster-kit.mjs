/**
 * A whole cluster for browser tests, as `scripts/cluster` starts it: Redis, three nodes, and nginx with its shipped
 * configuration in front of them. It is no test itself.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE_BINARY, skipReason, until } from './harness.mjs';

const SCRIPT = fileURLToPath(new URL('../../scripts/cluster', import.meta.url));
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
 * @param {{ sticky?: boolean, env?: Record<string, string> }} [options]
 */
export async function startCluster({ sticky = false, env = {} } = {}) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'greenroom-'));
  const child = spawn(SCRIPT, [...(sticky ? ['--sticky'] : []), '3'], {
    cwd: folder,
    env: { ...process.env, GREENROOM_BIN: path.resolve(NODE_BINARY), PORT: '0', STORAGE_LOCAL_PATH: folder, DRAIN_DEADLINE_SECS: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const kill = () => child.kill('SIGTERM');
  process.on('exit', kill);
  let [said, errors] = ['', ''];
  child.stdout.on('data', (text) => { said += text; });
  child.stderr.on('data', (text) => { errors += text; });
  const exited = new Promise((resolve) => child.on('close', resolve));
  await until(() => {
    if (child.exitCode !== null) throw new Error(`scripts/cluster ended: ${errors}`);
    return said.includes('Ctrl-C stops all.');
  }, { what: 'a cluster', timeoutMs: START_MS });

  const parts = [...said.matchAll(/^ {2}(\S+) +(http:\S+)\/ +pid (\d+)/gm)].map(([, name = '', url = '', pid]) => ({ name, url, pid: Number(pid) }));
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
    /** As `GET /api/cluster` tells it. */
    picture: async () => (await fetch(`${part('nginx').url}/api/cluster`)).json(),
    /** Sends a node a signal. @param {string} id @param {NodeJS.Signals} [signal] */
    kill(id, signal = 'SIGKILL') { process.kill(part(id).pid, signal); },
    async stop() {
      kill();
      const hard = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      if (child.exitCode === null && child.signalCode === null) await exited;
      clearTimeout(hard);
      process.off('exit', kill);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
