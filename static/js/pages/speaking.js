// Who speaks now, read from what the browser measures anyway while it receives sound.

/** @typedef {import('../index.js').Call} Call */

const EVERY_MS = 250;
const LOUD = 0.015;
/** A pause between words is no silence. */
const HOLD_MS = 900;

/**
 * Reports who speaks, until it is stopped.
 *
 * @param {Call} call
 * @param {() => boolean} ownVoice whether this person speaks now
 * @param {(speaking: ReadonlySet<string>) => void} report
 * @returns {() => void} stops it
 */
export function watchSpeaking(call, ownVoice, report) {
  /** @type {Map<string, number>} */
  const heard = new Map();
  const timer = setInterval(() => {
    const now = performance.now();
    if (ownVoice() && call.me) heard.set(call.me.userId, now);
    for (const { userId, peer, metadata } of call.participants.values()) {
      if (metadata?.audio !== true) heard.delete(userId);
      else if (loudestOf(peer?.pc) > LOUD) heard.set(userId, now);
    }
    for (const [userId, at] of heard) {
      if (now - at > HOLD_MS) heard.delete(userId);
    }
    report(new Set(heard.keys()));
  }, EVERY_MS);
  return () => clearInterval(timer);
}

/**
 * @param {RTCPeerConnection | null | undefined} connection
 * @returns {number} 0 to 1
 */
function loudestOf(connection) {
  let loudest = 0;
  for (const receiver of connection?.getReceivers() ?? []) {
    if (receiver.track.kind !== 'audio') continue;
    loudest = Math.max(loudest, receiver.getSynchronizationSources()[0]?.audioLevel ?? 0);
  }
  return loudest;
}
