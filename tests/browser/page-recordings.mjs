/**
 * The recording side of a node that follows a script: it takes what the page's recorder sends, and lists, serves and
 * deletes what a test puts into it. The page, its MediaRecorder and its storage are real. It is no test itself.
 */

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('playwright-core').WebSocketRoute} WebSocketRoute */

const HEADER_BYTES = 20;
/** As the node names videos: by the claim under which they were made. */
export const FENCE = 1_700_000_000_000;
const LIMITS = { maxChunkBytes: 4 * 1024 * 1024, maxInFlight: 8 };

/** One node for one test; every page that is attached sees the same recordings. */
export class RecordingNode {
  /** As `GET /recordings` lists them. @type {any[]} */
  recordings = [];
  /** Payloads by recording and index. @type {Map<string, Map<number, Buffer>>} */
  chunks = new Map();
  /** The `start` of each socket. @type {any[]} */
  starts = [];
  /** Indices that began a segment. @type {Map<string, number[]>} */
  segments = new Map();
  /** @type {any[]} */
  stops = [];
  /** Where false, chunks are taken and never acknowledged. */
  acks = true;
  /** Stops that came meanwhile. @type {(() => void)[]} */
  held = [];
  /** Pieces are refused for good with this code, where it is set. @type {string | null} */
  refusal = null;
  /** Those before this one are taken all the same. */
  refusedFrom = 0;
  /** Longest that a recording may take, where it is set. Unit: ms. @type {number | undefined} */
  longestMs = undefined;
  /** What the next `start` with a token is refused with, where it is set. @type {string | null} */
  startRefusal = null;
  /** Where false, sockets are closed as soon as they open. */
  up = true;
  /** What comes after a stop; the test calls `finish` itself where it is null. @type {'ready' | 'failed' | null} */
  outcome = 'ready';
  /** Added to what is ready. @type {object} */
  result = {};
  /** Answers to HTTP are this instead, where it is set. @type {number | null} */
  status = null;
  /** What is answered when an MP4 is asked for, one after the other; a number is how far it is, and at the end it is there. @type {(number | string)[]} */
  mp4s = [];
  /** Queries of the list. @type {URLSearchParams[]} */
  queries = [];
  /** @type {{ route: WebSocketRoute, recordId: string }[]} */
  sockets = [];

  /** @param {Page} page */
  async attach(page) {
    await page.routeWebSocket('**/recording', (route) => this.#socket(route));
    await page.route(/\/recordings(\/|\?|$)/, (route) => this.#http(route));
  }

  /** @param {string} recordId @param {string} [code] of a failure */
  finish(recordId, code) {
    const socket = this.sockets.findLast((one) => one.recordId === recordId);
    const recording = this.find(recordId);
    if (!recording || !socket) return;
    if (code) {
      Object.assign(recording, { state: 'failed', error: { code, message: 'ffmpeg gave up' } });
      return this.#say(socket.route, { type: 'recordingError', recordId, code, error: 'ffmpeg gave up', retryable: false });
    }
    const key = `${recordId}.${FENCE}.webm`;
    const ready = { key, downloadUrl: `/recordings/download/${key}`, durationMs: 7000, sizeBytes: this.bytes(recordId).length, sha256: '0', complete: true, gaps: [], version: 1, mimeType: 'video/webm', ...this.result };
    Object.assign(recording, { state: 'ready', ...ready });
    this.#say(socket.route, { type: 'recordingReady', recordId, ...ready });
  }

  /** @param {string} recordId @param {number} percent */
  progress(recordId, percent) {
    const socket = this.sockets.findLast((one) => one.recordId === recordId);
    if (socket) this.#say(socket.route, { type: 'mergeProgress', recordId, percent });
  }

  /** @param {string} recordId */
  find(recordId) {
    return this.recordings.find((one) => one.recordId === recordId);
  }

  /** @param {string} recordId @returns {Buffer} everything in order */
  bytes(recordId) {
    const chunks = [...(this.chunks.get(recordId) ?? [])].sort(([one], [other]) => one - other);
    return Buffer.concat(chunks.map(([, payload]) => payload));
  }

  /** Acknowledges what was held back, and all that comes. */
  release() {
    this.acks = true;
    for (const { route, recordId } of this.sockets) for (const index of this.chunks.get(recordId)?.keys() ?? []) this.#ack(route, recordId, index);
    for (const stop of this.held.splice(0)) stop();
  }

  /** Ends all sockets. */
  cut() {
    for (const { route } of this.sockets.splice(0)) void route.close({ code: 1012 });
  }

  /** @param {WebSocketRoute} route */
  #socket(route) {
    if (!this.up) return void route.close({ code: 1013 });
    const socket = { route, recordId: '' };
    this.sockets.push(socket);
    route.onMessage((message) => {
      if (typeof message === 'string') this.#hear(socket, JSON.parse(message));
      else this.#take(socket, message);
    });
  }

  /** @param {{ route: WebSocketRoute, recordId: string }} socket @param {any} message */
  #hear(socket, message) {
    if (message.type === 'start') {
      this.starts.push(message);
      if (message.uploadToken && this.startRefusal) return this.#say(socket.route, { type: 'recordingError', recordId: message.recordId, code: this.startRefusal, error: 'no', retryable: false });
      const recordId = message.uploadToken?.replace('token-', '') ?? `rec-${this.recordings.length + 1}`;
      socket.recordId = recordId;
      const stored = this.chunks.get(recordId) ?? new Map();
      this.chunks.set(recordId, stored);
      if (!this.find(recordId)) this.recordings.unshift({ recordId, state: 'recording', title: message.title, roomName: message.roomName ?? null, owner: message.owner, startedAt: new Date().toISOString(), mimeType: message.mimeType, complete: null, gaps: [], sizeBytes: null, durationMs: null, error: null });
      const nextIndex = stored.size === 0 ? 0 : Math.max(...stored.keys()) + 1;
      const missing = Array.from({ length: nextIndex }, (_, index) => index).filter((index) => !stored.has(index));
      this.#say(socket.route, { type: 'started', recordId, uploadToken: `token-${recordId}`, nextIndex, missing, limits: { ...LIMITS, maxDurationMs: this.longestMs }, graceMs: 5000, state: 'recording', merging: 'available' });
    } else if (message.type === 'stop') {
      if (!this.acks) return void this.held.push(() => this.#hear(socket, message));
      this.stops.push(message);
      Object.assign(this.find(message.recordId), { state: 'finalising' });
      this.#say(socket.route, { type: 'finished', recordId: message.recordId, chunks: message.chunks });
      if (this.outcome) this.finish(message.recordId, this.outcome === 'failed' ? 'merge_failed' : undefined);
    } else if (message.type === 'abort') {
      this.recordings = this.recordings.filter(({ recordId }) => recordId !== message.recordId);
    }
  }

  /** @param {{ route: WebSocketRoute, recordId: string }} socket @param {Buffer} frame */
  #take({ route, recordId }, frame) {
    const [flags, index] = [frame.readUInt8(3), frame.readUInt32BE(4)];
    if (this.refusal && index >= this.refusedFrom) return this.#say(route, { type: 'chunkError', recordId, index, code: this.refusal, error: 'no', retryable: false });
    this.chunks.get(recordId)?.set(index, Buffer.from(frame.subarray(HEADER_BYTES)));
    if (flags & 1) this.segments.set(recordId, [...new Set([...(this.segments.get(recordId) ?? []), index])]);
    if (this.acks) this.#ack(route, recordId, index);
  }

  /** @param {WebSocketRoute} route @param {string} recordId @param {number} index */
  #ack(route, recordId, index) {
    this.#say(route, { type: 'chunkAck', recordId, index, status: 'success' });
  }

  /** @param {WebSocketRoute} route @param {object} message */
  #say(route, message) {
    route.send(JSON.stringify(message));
  }

  /** @param {import('playwright-core').Route} route */
  async #http(route) {
    const request = route.request();
    const url = new URL(request.url());
    if (this.status !== null) return route.fulfill({ status: this.status, contentType: 'application/problem+json', body: JSON.stringify({ code: 'storage_failed', detail: 'no' }) });
    if (url.pathname.startsWith('/recordings/download/')) return url.searchParams.get('format') === 'mp4' ? this.#mp4(route, url.pathname) : this.#download(route, url.pathname);
    const id = url.pathname.split('/')[2];
    if (!id) return this.#list(route, url.searchParams);
    const found = this.find(id);
    if (!found) return route.fulfill({ status: 404, contentType: 'application/problem+json', body: JSON.stringify({ code: 'recording_unknown', detail: 'no such recording' }) });
    if (request.method() === 'DELETE') {
      if (found.state === 'recording') return route.fulfill({ status: 409, contentType: 'application/problem+json', body: JSON.stringify({ code: 'recording_active', detail: 'it records' }) });
      this.recordings = this.recordings.filter((one) => one !== found);
      return route.fulfill({ status: 204 });
    }
    return route.fulfill({ json: found });
  }

  /** @param {import('playwright-core').Route} route @param {URLSearchParams} query */
  #list(route, query) {
    this.queries.push(query);
    const [state, q, limit, from] = [query.get('state'), (query.get('q') ?? '').toLowerCase(), Number(query.get('limit') ?? 50), Number(query.get('cursor') ?? 0)];
    const found = this.recordings.filter((one) => (!state || one.state === state) && `${one.title} ${one.roomName} ${one.recordId}`.toLowerCase().includes(q));
    const next = from + limit < found.length ? String(from + limit) : undefined;
    return route.fulfill({ json: { recordings: found.slice(from, from + limit), next } });
  }

  /** @param {import('playwright-core').Route} route @param {string} pathname */
  #mp4(route, pathname) {
    const next = this.mp4s.shift();
    if (typeof next === 'string') return route.fulfill({ status: 503, contentType: 'application/problem+json', body: JSON.stringify({ code: next, detail: 'no' }) });
    if (next !== undefined) return route.fulfill({ status: 202, headers: { 'Retry-After': '1' }, json: { state: 'converting', percent: next } });
    const name = `${pathname.split('/').pop()?.replace(/[^.]*$/, '')}mp4`;
    return route.fulfill({ contentType: 'video/mp4', headers: { 'Content-Disposition': `attachment; filename="${name}"` }, body: 'an MP4' });
  }

  /** @param {import('playwright-core').Route} route @param {string} pathname */
  #download(route, pathname) {
    const name = decodeURIComponent(pathname.split('/').pop() ?? '');
    if (name.endsWith('.jpg')) return route.fulfill({ contentType: 'image/svg+xml', body: posterOf(name) });
    const [recordId = ''] = name.split('.');
    return route.fulfill({ contentType: 'video/webm', headers: { 'Content-Disposition': `attachment; filename="${name}"` }, body: this.bytes(recordId) });
  }
}

/** @param {string} name @returns {string} a picture that differs by name */
function posterOf(name) {
  const hue = [...name].reduce((sum, letter) => sum * 7 + letter.charCodeAt(0), 0) % 360;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 180"><rect width="320" height="180" fill="hsl(${hue} 30% 88%)"/>
    <rect x="24" y="20" width="272" height="140" rx="8" fill="#fff"/><rect x="40" y="38" width="120" height="12" rx="6" fill="hsl(${hue} 40% 45%)"/>
    <rect x="40" y="64" width="220" height="6" rx="3" fill="#cfd8d0"/><rect x="40" y="80" width="190" height="6" rx="3" fill="#cfd8d0"/><rect x="40" y="96" width="206" height="6" rx="3" fill="#cfd8d0"/>
    <circle cx="262" cy="130" r="20" fill="hsl(${hue} 35% 60%)"/></svg>`;
}
