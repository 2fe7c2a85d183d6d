// The board: a column for each node, a row for each room, and every participant where its session is. What stays is
// changed in place, so that nothing jumps and what is marked or read aloud is kept.

import { el, icon, setAttribute, setIcon, setText } from '../dom.js';
import { counted } from '../figures.js';
import { byName } from './columns.js';
import { NODE_STATES, seconds } from './words.js';

/** @typedef {import('./types.d.ts').ClusterParticipant} ClusterParticipant */
/** @typedef {import('./types.d.ts').ClusterRoom} ClusterRoom */
/** @typedef {import('./types.d.ts').Column} Column */

export class Board {
  /** @param {HTMLElement} root has the role of a table */
  constructor(root) {
    this.root = root;
    this.corner = el('div', { class: 'board-corner', role: 'columnheader' }, 'Rooms');
    this.head = el('div', { class: 'board-head', role: 'row' }, this.corner);
    root.append(this.head);
    /** @type {Map<string, NodeCard>} */
    this.nodes = new Map();
    /** @type {Map<string, RoomRow>} */
    this.rooms = new Map();
  }

  /**
   * @param {Column[]} columns
   * @param {ClusterRoom[]} rooms
   */
  sync(columns, rooms) {
    this.root.style.setProperty('--nodes', String(columns.length));
    keep(this.head, this.corner, this.nodes, columns, ({ id }) => id, () => new NodeCard());
    const ordered = [...rooms].sort((one, other) => byName(one.room_name, other.room_name));
    keep(this.root, this.head, this.rooms, ordered, ({ room_name }) => room_name, () => new RoomRow());
    for (const room of ordered) this.rooms.get(room.room_name)?.place(room.participants, columns);
  }
}

/** The head of a column. */
class NodeCard {
  constructor() {
    this.name = el('bdi');
    this.stateText = el('span');
    this.state = el('span', { class: 'badge' }, icon('check'), this.stateText);
    this.lease = el('i');
    this.bar = el('div', { class: 'level', 'aria-hidden': 'true' }, this.lease);
    this.leaseText = el('span');
    this.sessions = el('span');
    this.incarnation = el('span', { class: 'node-life' });
    this.root = el(
      'div',
      { class: 'node', role: 'columnheader' },
      el('p', { class: 'node-name' }, this.name, this.state),
      this.bar,
      el('p', { class: 'node-facts' }, this.sessions, this.leaseText),
      this.incarnation,
    );
  }

  /** @param {Column} column */
  update({ id, state, incarnation, leaseLeftMs, leaseShare, sessions }) {
    const { text, icon: picture } = NODE_STATES[state];
    setAttribute(this.root, 'data-state', state);
    setText(this.name, id);
    setText(this.stateText, text);
    setIcon(this.state, picture);
    this.lease.style.setProperty('--level', String(leaseShare));
    // A node that is alone needs no lease.
    const leased = leaseLeftMs > 0 || state !== 'live';
    this.bar.hidden = !leased;
    setText(this.leaseText, !leased ? '' : leaseLeftMs > 0 ? `Lease ${seconds(leaseLeftMs)}` : 'No lease');
    setText(this.sessions, counted(sessions, 'session'));
    setText(this.incarnation, incarnation === null ? '' : `Incarnation ${incarnation}`);
  }
}

/** A row, with a cell for each node. */
class RoomRow {
  constructor() {
    this.name = el('bdi');
    this.lock = el('span', { class: 'room-lock', hidden: true }, icon('lock'), el('span', { class: 'visually-hidden' }, 'locked'));
    this.count = el('span', { class: 'room-count' });
    this.head = el('div', { class: 'room-name', role: 'rowheader' }, el('span', {}, this.name, this.lock), this.count);
    this.root = el('div', { class: 'board-room', role: 'row' }, this.head);
    /** @type {Map<string, Cell>} */
    this.cells = new Map();
  }

  /** @param {ClusterRoom} room */
  update({ room_name, locked, participants }) {
    setText(this.name, room_name);
    this.lock.hidden = !locked;
    setText(this.count, counted(participants.length, 'participant'));
  }

  /**
   * @param {ClusterParticipant[]} participants
   * @param {Column[]} columns
   */
  place(participants, columns) {
    keep(this.root, this.head, this.cells, columns, ({ id }) => id, () => new Cell());
    for (const { id } of columns) this.cells.get(id)?.fill(participants.filter(({ node_id }) => node_id === id));
  }
}

/** Who of one room is at one node. */
class Cell {
  constructor() {
    this.name = el('bdi', { class: 'cell-node', 'aria-hidden': 'true' });
    this.list = el('ul', { class: 'placed' });
    this.root = el('div', { class: 'cell', role: 'cell' }, this.name, this.list);
    /** @type {Map<string, Chip>} */
    this.chips = new Map();
  }

  /** @param {Column} column */
  update({ id, state }) {
    setText(this.name, id);
    setAttribute(this.root, 'data-state', state);
  }

  /** @param {ClusterParticipant[]} participants */
  fill(participants) {
    setAttribute(this.root, 'data-empty', participants.length === 0);
    this.list.hidden = participants.length === 0;
    keep(this.list, null, this.chips, participants, ({ user_id }) => user_id, () => new Chip());
  }
}

/** A participant. */
class Chip {
  constructor() {
    this.name = el('bdi');
    this.state = el('span', { class: 'chip-state' });
    this.root = el('li', { class: 'chip' }, this.name, this.state);
  }

  /** @param {ClusterParticipant} participant */
  update({ user_id, username, state }) {
    setText(this.name, username);
    setText(this.state, state === 'suspect' ? 'suspect' : '');
    setAttribute(this.root, 'data-state', state);
    setAttribute(this.root, 'title', user_id);
  }
}

/**
 * Makes the children of a holder what a list says: those that stay are updated, the others made or removed.
 *
 * @template T
 * @template {{ root: HTMLElement, update: (item: T) => void }} P
 * @param {HTMLElement} holder
 * @param {HTMLElement | null} first a child that stands before them
 * @param {Map<string, P>} parts
 * @param {T[]} items in the order to be shown
 * @param {(item: T) => string} keyOf
 * @param {() => P} make
 */
function keep(holder, first, parts, items, keyOf, make) {
  const here = new Set(items.map(keyOf));
  for (const [key, part] of parts) {
    if (here.has(key)) continue;
    part.root.remove();
    parts.delete(key);
  }
  let before = first ? first.nextElementSibling : holder.firstElementChild;
  for (const item of items) {
    const part = parts.get(keyOf(item)) ?? make();
    parts.set(keyOf(item), part);
    part.update(item);
    if (part.root === before) before = before.nextElementSibling;
    else holder.insertBefore(part.root, before);
  }
}
