/**
 * The one error of the library, and what each end of a socket means.
 * @module
 */

/**
 * A command or a join that was refused or could not be carried out.
 *
 * `code` is the node's own (`room_full`, `peer_unreachable`, …) or one of the library's: `unreachable` (no node
 * answered), `not_joined`, `already_joined`, `overloaded` (too many commands wait), `too_large`, `superseded` (a signal
 * that a new negotiation replaces), `outcome_unknown` (sent, but the node that knew the answer is gone), `closed`.
 */
export class SignalError extends Error {
  /**
   * @param {string} code
   * @param {string} message a sentence for people
   * @param {{ retryable?: boolean, retryAfterMs?: number }} [advice]
   */
  constructor(code, message, { retryable = false, retryAfterMs } = {}) {
    super(message);
    this.name = 'SignalError';
    this.code = code;
    /** Whether the same command has a chance later. */
    this.retryable = retryable;
    /** @type {number | undefined} Not before this long. Unit: ms. */
    this.retryAfterMs = retryAfterMs;
  }

  /** @param {import('./types.d.ts').WireError} error */
  static fromWire(error) {
    return new SignalError(error.code, error.message, {
      retryable: error.retryable === true,
      retryAfterMs: error.retry_after_ms,
    });
  }
}

/**
 * Close codes after which a session does not come back. Every other code is a lost socket, and is resumed.
 * @type {Record<number, { code: string, reason: string, mayReturn: boolean }>}
 */
export const FINAL_CLOSE = {
  1000: { code: 'closed', reason: 'the session was closed', mayReturn: true },
  4400: { code: 'malformed', reason: 'the node did not understand this page', mayReturn: false },
  4401: { code: 'unauthorised', reason: 'not signed in for this room', mayReturn: false },
  4403: { code: 'forbidden', reason: 'not allowed in this room', mayReturn: false },
  4409: { code: 'replaced', reason: 'opened elsewhere', mayReturn: true },
  4410: { code: 'kicked', reason: 'removed by a moderator', mayReturn: false },
};

/** Refusals that mean one of these ends, under a name of their own. @type {Record<string, number>} */
const ENDS_AS = { banned: 4403, origin_refused: 4403 };

/** Refusals by the room. All other retryable ones are the node's, and another attempt or another node may do. */
export const ROOM_REFUSALS = new Set(['room_full', 'room_locked']);

/** The socket was closed because a frame was too large; sending it again would close it again. */
export const CLOSE_TOO_LARGE = 1009;

/**
 * How a refusal looks to the application: with the close code where the table has one for it.
 * @param {SignalError} error
 * @returns {import('./types.d.ts').Ended}
 */
export function endedBy(error) {
  const row = Object.entries(FINAL_CLOSE).find(([, { code }]) => code === error.code);
  const code = ENDS_AS[error.code] ?? (row ? Number(row[0]) : error.code);
  return { code, reason: error.message, mayReturn: error.retryable };
}
