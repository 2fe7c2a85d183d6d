/**
 * Remote ICE candidates, held until the description they belong to is there. A candidate can come before its
 * description, or belong to an offer that was ignored in a collision; only what fits is given to the connection.
 * @module
 */
import { iceUfragsOf } from './sdp.js';

/** Held at once for one peer; beyond it the oldest goes. One generation has about ten. */
const HELD_MAX = 64;

/** @typedef {RTCIceCandidateInit | null} Candidate null: that generation has no more */

export class CandidateQueue {
  /** @type {Candidate[]} */
  #held = [];
  /** @type {Set<string> | null} null while there is no remote description */
  #ufrags = null;

  /**
   * @param {RTCPeerConnection | null} pc
   * @param {Candidate} candidate
   */
  async take(pc, candidate) {
    if (pc && this.#fits(candidate)) return add(pc, candidate);
    this.#held.push(candidate);
    if (this.#held.length > HELD_MAX) this.#held.shift();
  }

  /**
   * A remote description was applied: what was waiting for it goes in, and what fits no description is dropped.
   * @param {RTCPeerConnection} pc
   * @param {string} sdp
   */
  async described(pc, sdp) {
    this.#ufrags = iceUfragsOf(sdp);
    const fitting = this.#held.filter((candidate) => this.#fits(candidate));
    this.#held = [];
    for (const candidate of fitting) await add(pc, candidate);
  }

  /** The connection is gone; what is held may belong to the next. */
  undescribed() {
    this.#ufrags = null;
  }

  /** @param {Candidate} candidate */
  #fits(candidate) {
    if (!this.#ufrags) return false;
    const ufrag = candidate?.usernameFragment;
    return typeof ufrag !== 'string' || this.#ufrags.has(ufrag);
  }
}

/**
 * A candidate that the browser refuses is the remote side's mistake, and costs one path at most.
 * @param {RTCPeerConnection} pc
 * @param {Candidate} candidate
 */
async function add(pc, candidate) {
  try {
    await pc.addIceCandidate(candidate ?? undefined);
  } catch {
    // The others may still connect.
  }
}
