/**
 * How long to wait before the next attempt to connect: a random part of a span that doubles up to a cap, so that the
 * pages of a node that died do not come back in step.
 * @module
 */

/** The first span. Unit: ms. */
const BASE_MS = 300;

/**
 * @param {number} attempt from 0
 * @param {number} capMs the longest span
 * @returns {number} unit: ms
 */
export function jitteredMs(attempt, capMs) {
  return Math.random() * Math.min(capMs, BASE_MS * 2 ** attempt);
}
