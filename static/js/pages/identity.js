// Who this tab is in a room, and whether another tab of this browser is already in it.

import { recallInTab, rememberInTab } from './preferences.js';

const ANSWER_WITHIN_MS = 250;

/**
 * The participant id of this tab in a room; the same after a reload.
 *
 * @param {string} room
 * @returns {string}
 */
export function userIdFor(room) {
  const known = recallInTab(`user:${room}`);
  return known === '' ? becomeNew(room) : known;
}

/**
 * Gives this tab a participant id of its own.
 *
 * @param {string} room
 * @returns {string}
 */
export function becomeNew(room) {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return become(room, `u-${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`);
}

/**
 * Makes this tab the participant that another tab is now.
 *
 * @param {string} room
 * @param {string} userId
 * @returns {string}
 */
export function become(room, userId) {
  rememberInTab(`user:${room}`, userId);
  return userId;
}

/**
 * The tabs of this browser that have the same room open, found without asking the node.
 */
export class OtherTabs {
  /** @param {string} room */
  constructor(room) {
    /** @type {BroadcastChannel | null} */
    this.channel = typeof BroadcastChannel === 'function' ? new BroadcastChannel(`greenroom.room.${room}`) : null;
    /** @type {string | null} the participant this tab is while in the call */
    this.present = null;
    this.channel?.addEventListener('message', ({ data }) => {
      if (data?.kind === 'who' && this.present) this.channel?.postMessage({ kind: 'here', userId: this.present });
    });
  }

  /**
   * Asks whether another tab is in the call.
   *
   * @returns {Promise<string | null>} its participant id, or null when none answers
   */
  find() {
    const channel = this.channel;
    if (!channel) return Promise.resolve(null);
    return new Promise((resolve) => {
      /** @param {string | null} answer */
      const finish = (answer) => {
        clearTimeout(timer);
        channel.removeEventListener('message', hear);
        resolve(answer);
      };
      /** @param {MessageEvent} event */
      const hear = ({ data }) => {
        if (data?.kind === 'here' && typeof data.userId === 'string') finish(data.userId);
      };
      const timer = setTimeout(() => finish(null), ANSWER_WITHIN_MS);
      channel.addEventListener('message', hear);
      channel.postMessage({ kind: 'who' });
    });
  }
}
