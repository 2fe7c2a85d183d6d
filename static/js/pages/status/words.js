// What the status page says: of nodes, and of what happened.

import { counted } from '../figures.js';

/** @typedef {import('./types.d.ts').NodeChange} NodeChange */
/** @typedef {import('./types.d.ts').ParticipantChange} ParticipantChange */
/** @typedef {import('./types.d.ts').Line} Line */
/** @typedef {import('./types.d.ts').NodeState} NodeState */

/** As many of one kind are told one by one; more are told together. */
const APART_MAX = 3;

/**
 * The state of a node, never by colour alone.
 *
 * @type {Record<NodeState, { text: string, icon: string }>}
 */
export const NODE_STATES = {
  live: { text: 'Live', icon: 'check' },
  draining: { text: 'Draining', icon: 'leave' },
  dead: { text: 'Dead', icon: 'alert' },
  gone: { text: 'Gone', icon: 'offline' },
};

/** @type {Record<NodeChange['kind'], [Line['tone'], string]>} */
const NODE_LINES = {
  came: ['good', ' has come.'],
  restarted: ['good', ' has begun a new life.'],
  draining: ['info', ' is draining: its participants move to other nodes.'],
  died: ['danger', ' is dead: its lease has run out.'],
  revived: ['good', ' is live again.'],
  cleared: ['info', ' has been cleared away.'],
  stopped: ['info', ' has stopped.'],
  vanished: ['info', ' is gone.'],
};

/** @type {Record<ParticipantChange['kind'], [Line['tone'], string]>} */
const PARTICIPANT_LINES = {
  joined: ['info', 'joined'],
  suspect: ['warning', 'became suspect'],
  returned: ['good', 'came back'],
  left: ['info', 'left'],
  lost: ['warning', 'did not come back in time and left'],
  moved: ['good', 'moved'],
};

/**
 * Puts changes into lines of the log, those of nodes first: they are why the others are.
 *
 * @param {import('./types.d.ts').Changes} changes
 * @returns {Line[]}
 */
export function linesOf({ nodes, participants }) {
  return [...nodes.map(nodeLine), ...groupsOf(participants).flatMap((group) => (group.length > APART_MAX ? [lineOfMany(group)] : group.map(participantLine)))];
}

/**
 * @param {ParticipantChange[]} changes
 * @returns {ParticipantChange[][]} of the same kind at the same nodes
 */
function groupsOf(changes) {
  /** @type {Map<string, ParticipantChange[]>} */
  const groups = new Map();
  for (const change of changes) {
    const key = [change.kind, change.node, change.to].join(' ');
    groups.set(key, [...(groups.get(key) ?? []), change]);
  }
  return [...groups.values()];
}

/**
 * @param {NodeChange} change
 * @returns {Line}
 */
function nodeLine({ kind, node }) {
  const [tone, text] = NODE_LINES[kind];
  return { tone, parts: [{ name: node }, text] };
}

/**
 * @param {ParticipantChange} change
 * @returns {Line}
 */
function participantLine(change) {
  const [tone, did] = PARTICIPANT_LINES[change.kind];
  return { tone, parts: [{ name: change.name }, ' in room ', { name: change.room }, ` ${did}`, ...whereOf(change), '.'] };
}

/**
 * @param {ParticipantChange[]} group not empty
 * @returns {Line}
 */
function lineOfMany(group) {
  const first = /** @type {ParticipantChange} */ (group[0]);
  const [tone, did] = PARTICIPANT_LINES[first.kind];
  const rooms = new Set(group.map(({ room }) => room)).size;
  return { tone, parts: [`${counted(group.length, 'participant')} in ${counted(rooms, 'room')} ${did}`, ...whereOf(first), '.'] };
}

/**
 * @param {ParticipantChange} change
 * @returns {import('./types.d.ts').Part[]}
 */
function whereOf({ node, to }) {
  return to === undefined ? [' at ', { name: node }] : [' from ', { name: node }, ' to ', { name: to }];
}

/**
 * @param {number} ms
 * @returns {string} such as `6.2 s`
 */
export function seconds(ms) {
  return `${(Math.max(0, ms) / 1000).toFixed(1)} s`;
}
