/**
 * The two facts that are read from a session description. Everything else in it is the browser's business.
 * @module
 */

/**
 * Which `RTCPeerConnection` wrote a description: the session id of its `o=` line is random and lives as long as that.
 * @param {string} sdp
 * @returns {string} empty where there is none
 */
export function originOf(sdp) {
  return /^o=\S+ (\S+) /m.exec(sdp)?.[1] ?? '';
}

/**
 * The ICE generations of a description: a candidate belongs to it if it names one of these.
 * @param {string} sdp
 * @returns {Set<string>}
 */
export function iceUfragsOf(sdp) {
  return new Set(Array.from(sdp.matchAll(/^a=ice-ufrag:(\S+)/gm), (line) => line[1] ?? ''));
}
