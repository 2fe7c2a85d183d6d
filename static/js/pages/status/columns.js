// The columns of the board: one for each node, whatever became of it.

/** @typedef {import('./types.d.ts').ClusterPicture} ClusterPicture */
/** @typedef {import('./types.d.ts').ClusterNode} ClusterNode */
/** @typedef {import('./types.d.ts').Column} Column */

/** How long a node is still shown after it was listed for the last time. Unit: ms. */
const GONE_MS = 20_000;

const BY_NAME = new Intl.Collator('en', { numeric: true });

/**
 * Compares names as people order them: `node-2` before `node-10`.
 *
 * @param {string} one
 * @param {string} other
 * @returns {number}
 */
export function byName(one, other) {
  return BY_NAME.compare(one, other) || (one < other ? -1 : 1);
}

/**
 * The newest life of each node.
 *
 * @param {ClusterPicture} picture
 * @returns {Map<string, ClusterNode>}
 */
export function newestLives({ nodes }) {
  /** @type {Map<string, ClusterNode>} */
  const newest = new Map();
  for (const node of nodes) {
    const known = newest.get(node.node_id);
    if (!known || known.incarnation < node.incarnation) newest.set(node.node_id, node);
  }
  return newest;
}

/** Remembers what a single picture does not tell: who was there before, and how long a lease can be. */
export class Columns {
  /** @type {Map<string, { node: ClusterNode, seenAt: number }>} */
  #seen = new Map();
  #longestLeaseMs = 1;

  /**
   * @param {ClusterPicture} picture
   * @param {number} now ms
   * @returns {Column[]} in the order to be shown
   */
  take(picture, now) {
    const lives = newestLives(picture);
    for (const [id, node] of lives) {
      this.#seen.set(id, { node, seenAt: now });
      this.#longestLeaseMs = Math.max(this.#longestLeaseMs, node.lease_left_ms);
    }
    const inUse = new Set(picture.rooms.flatMap(({ participants }) => participants.map(({ node_id }) => node_id)));
    for (const [id, { seenAt }] of this.#seen) if (!inUse.has(id) && now - seenAt > GONE_MS) this.#seen.delete(id);
    const ids = new Set([...this.#seen.keys(), ...inUse]);
    return [...ids].sort(byName).map((id) => this.#column(id, lives.has(id)));
  }

  /**
   * @param {string} id
   * @param {boolean} listed
   * @returns {Column}
   */
  #column(id, listed) {
    const node = this.#seen.get(id)?.node;
    if (!listed || !node) return { id, state: 'gone', incarnation: node?.incarnation ?? null, leaseLeftMs: 0, leaseShare: 0, sessions: 0 };
    const leaseLeftMs = node.state === 'dead' ? 0 : node.lease_left_ms;
    return { id, state: node.state, incarnation: node.incarnation, leaseLeftMs, leaseShare: leaseLeftMs / this.#longestLeaseMs, sessions: node.sessions };
  }
}
