/**
 * What a node says of its cluster, by a script, for the status page. The page and its timers are real. It is no test itself.
 */

/** @typedef {import('playwright-core').Page} Page */

const LEASE_MS = 8_000;

/** A cluster that a test changes as it likes. */
export class ClusterScript {
  mode = 'cluster';
  /** @type {any[]} */
  nodes = [];
  /** Participants by room: user id → [name, node, state]. @type {Record<string, Record<string, [string, string, string?]>>} */
  rooms = {};
  /** @type {Set<string>} */
  locked = new Set();
  truncated = false;
  /** Where false, nobody answers. */
  up = true;
  /** How often it was asked. */
  asked = 0;

  /** @param {string[]} ids of live nodes */
  constructor(...ids) {
    for (const [place, id] of ids.entries()) this.node(id, { incarnation: 1_763_733_600_000 + place });
  }

  /** @param {string} id @param {object} facts that are different */
  node(id, facts) {
    const known = this.nodes.find(({ node_id }) => node_id === id);
    if (known) Object.assign(known, facts);
    else this.nodes.push({ node_id: id, state: 'live', lease_left_ms: LEASE_MS, ...facts });
  }

  /** A node dies: its lease is over, and who was there is suspect. @param {string} id */
  kill(id) {
    this.node(id, { state: 'dead', lease_left_ms: 0 });
    for (const people of Object.values(this.rooms)) for (const person of Object.values(people)) if (person[1] === id) person[2] = 'suspect';
  }

  /** Whatever a dead node has left is taken away. @param {string} id */
  clear(id) {
    this.nodes = this.nodes.filter(({ node_id }) => node_id !== id);
    for (const [room, people] of Object.entries(this.rooms)) {
      for (const [userId, [, at]] of Object.entries(people)) if (at === id) delete people[userId];
      if (Object.keys(people).length === 0) delete this.rooms[room];
    }
  }

  /** @param {Page} page */
  async attach(page) {
    await page.route('**/api/cluster', (route) => {
      this.asked += 1;
      return this.up ? route.fulfill({ json: this.#picture() }) : route.abort();
    });
  }

  #picture() {
    const rooms = Object.entries(this.rooms).map(([room_name, people]) => ({
      room_name,
      locked: this.locked.has(room_name),
      participants: Object.entries(people).map(([user_id, [username, node_id, state = 'present']]) => ({ user_id, username, state, node_id })),
    }));
    const sessions = (/** @type {string} */ id) => rooms.flatMap(({ participants }) => participants).filter(({ node_id }) => node_id === id).length;
    const nodes = this.nodes.map((node) => ({ ...node, sessions: sessions(node.node_id) }));
    return { node_id: this.nodes[0]?.node_id ?? 'node-1', mode: this.mode, nodes, rooms, truncated: this.truncated };
  }
}
