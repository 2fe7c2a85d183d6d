// What is different between two pictures of a cluster.

import { byName, newestLives } from './columns.js';

/** @typedef {import('./types.d.ts').ClusterPicture} ClusterPicture */
/** @typedef {import('./types.d.ts').ClusterNode} ClusterNode */
/** @typedef {import('./types.d.ts').ClusterParticipant} ClusterParticipant */
/** @typedef {import('./types.d.ts').NodeChange} NodeChange */
/** @typedef {import('./types.d.ts').ParticipantChange} ParticipantChange */
/** @typedef {ClusterParticipant & { room: string }} Place */

/**
 * @param {ClusterPicture} before
 * @param {ClusterPicture} after
 * @returns {import('./types.d.ts').Changes}
 */
export function changesBetween(before, after) {
  return { nodes: nodeChanges(newestLives(before), newestLives(after)), participants: participantChanges(before, after) };
}

/**
 * @param {Map<string, ClusterNode>} before
 * @param {Map<string, ClusterNode>} after
 * @returns {NodeChange[]}
 */
function nodeChanges(before, after) {
  /** @type {NodeChange[]} */
  const changes = [];
  const longestLeaseMs = Math.max(0, ...[...before.values()].map(({ lease_left_ms }) => lease_left_ms));
  const ids = [...new Set([...before.keys(), ...after.keys()])].sort(byName);
  for (const id of ids) {
    const [was, is] = [before.get(id), after.get(id)];
    const kind = is ? nodeChange(was, is) : was && nodeEnd(was, longestLeaseMs);
    if (kind) changes.push({ kind, node: id });
  }
  return changes;
}

/**
 * Why a node is not listed any more.
 *
 * @param {ClusterNode} was
 * @param {number} longestLeaseMs of all nodes then
 * @returns {NodeChange['kind']}
 */
function nodeEnd({ state, lease_left_ms }, longestLeaseMs) {
  if (state === 'dead') return 'cleared';
  if (state === 'draining') return 'stopped';
  // Living nodes renew theirs long before the half: this one has died, and left nothing that took time to clear away.
  return lease_left_ms < longestLeaseMs / 2 ? 'died' : 'vanished';
}

/**
 * @param {ClusterNode | undefined} was
 * @param {ClusterNode} is
 * @returns {NodeChange['kind'] | null}
 */
function nodeChange(was, is) {
  if (was && was.incarnation !== is.incarnation) return 'restarted';
  if (was?.state === is.state) return null;
  if (is.state === 'dead') return 'died';
  if (is.state === 'draining') return 'draining';
  return was ? 'revived' : 'came';
}

/**
 * @param {ClusterPicture} before
 * @param {ClusterPicture} after
 * @returns {ParticipantChange[]}
 */
function participantChanges(before, after) {
  const [were, are] = [placesOf(before), placesOf(after)];
  /** @type {ParticipantChange[]} */
  const changes = [];
  for (const [key, was] of were) {
    const change = participantChange(was, are.get(key));
    // A room that did not fit into a picture has not ended, nor begun.
    if (change && (are.has(key) || tellsOf(after, was.room))) changes.push(change);
  }
  for (const [key, { node_id, room, username }] of are) {
    if (were.has(key) || !tellsOf(before, room)) continue;
    changes.push({ kind: 'joined', node: node_id, room, name: username });
  }
  return changes;
}

/**
 * @param {Place} was
 * @param {Place | undefined} is
 * @returns {ParticipantChange | null}
 */
function participantChange(was, is) {
  const { node_id: node, room, username: name } = was;
  if (!is) return { kind: was.state === 'suspect' ? 'lost' : 'left', node, room, name };
  if (is.node_id !== node) return { kind: 'moved', node, to: is.node_id, room, name };
  if (is.state === was.state) return null;
  return { kind: is.state === 'suspect' ? 'suspect' : 'returned', node, room, name };
}

/**
 * @param {ClusterPicture} picture
 * @returns {Map<string, Place>} by room and user id
 */
function placesOf({ rooms }) {
  return new Map(rooms.flatMap(({ room_name: room, participants }) => participants.map((one) => [`${room} ${one.user_id}`, { ...one, room }])));
}

/**
 * @param {ClusterPicture} picture
 * @param {string} room
 * @returns {boolean} whether the picture would have the room, if there were one
 */
function tellsOf({ rooms, truncated }, room) {
  return !truncated || rooms.some(({ room_name }) => room_name === room);
}
