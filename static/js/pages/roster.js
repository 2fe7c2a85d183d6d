// The list of people, and what the moderator can do with each.

import { el, icon, need, setAttribute, setIcon, setText } from './dom.js';
import { conditionWords } from './people.js';
import { initialsOf, toneOf } from './names.js';

/** @typedef {import('./people.js').Person} Person */

/**
 * @typedef {object} ModeratorActs
 * @property {(person: Person, kind: 'audio' | 'video') => void} mute
 * @property {(person: Person) => void} remove asks first
 */

/** Keeps one row for each person. */
export class Roster {
  /**
   * @param {HTMLElement} panel
   * @param {ModeratorActs} acts
   */
  constructor(panel, acts) {
    this.list = need('[data-part=list]', HTMLElement, panel);
    this.count = need('[data-part=count]', HTMLElement, panel);
    this.acts = acts;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
  }

  /**
   * Brings the list up to date.
   *
   * @param {Person[]} people
   */
  sync(people) {
    const mayModerate = people.some((person) => person.me && person.moderator);
    const here = new Set(people.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (here.has(id)) continue;
      row.root.remove();
      this.rows.delete(id);
    }
    people.forEach((person, place) => {
      let row = this.rows.get(person.id);
      if (!row) {
        row = new Row(person, this.acts);
        this.rows.set(person.id, row);
      }
      // Moving a row would take the focus from its buttons.
      if (this.list.children[place] !== row.root) this.list.insertBefore(row.root, this.list.children[place] ?? null);
      row.update(person, mayModerate);
    });
    setText(this.count, String(people.length));
  }

  /** Forgets the call. */
  clear() {
    this.list.replaceChildren();
    this.rows.clear();
  }
}

/** One person in the list. */
class Row {
  /**
   * @param {Person} person
   * @param {ModeratorActs} acts
   */
  constructor(person, acts) {
    this.person = person;
    this.avatar = el('span', { class: 'avatar', 'aria-hidden': 'true', 'data-tone': toneOf(person.id) });
    this.name = el('bdi', { class: 'roster-name' });
    this.note = el('span', { class: 'roster-note' });
    this.screen = sign('screen');
    this.camera = sign('camera');
    this.mic = sign('mic');
    this.stopCamera = actButton('camera', () => acts.mute(this.person, 'video'));
    this.muteMic = actButton('mic', () => acts.mute(this.person, 'audio'));
    this.remove = actButton('remove-person', () => acts.remove(this.person));
    this.remove.classList.add('danger');
    this.root = el(
      'li',
      { class: 'roster-row', 'data-user': person.id },
      this.avatar,
      el('span', { class: 'roster-who' }, this.name, this.note),
      el('span', { class: 'roster-signs' }, this.screen, this.camera, this.stopCamera, this.mic, this.muteMic, this.remove),
    );
  }

  /**
   * @param {Person} person
   * @param {boolean} mayModerate
   */
  update(person, mayModerate) {
    this.person = person;
    setText(this.avatar, initialsOf(person.name));
    setText(this.name, person.name);
    setText(this.note, notesOf(person));
    this.note.hidden = this.note.textContent === '';
    setAttribute(this.root, 'data-away', person.condition !== 'fine');
    const moderated = mayModerate && !person.me;
    this.screen.hidden = !person.screenOn;
    label(this.screen, 'Shares a screen');
    // Where the moderator can turn something off, its sign is the button for it.
    this.mic.hidden = moderated && person.audioOn;
    this.camera.hidden = moderated && person.videoOn;
    this.muteMic.hidden = !moderated || !person.audioOn;
    this.stopCamera.hidden = !moderated || !person.videoOn;
    this.remove.hidden = !moderated;
    showSign(this.mic, 'mic', person.audioOn, 'Microphone');
    showSign(this.camera, 'camera', person.videoOn, 'Camera');
    label(this.muteMic, `Mute ${person.name}`);
    label(this.stopCamera, `Turn off ${person.name}’s camera`);
    label(this.remove, `Remove ${person.name}`);
  }
}

/**
 * @param {string} picture
 * @param {() => void} act
 * @returns {HTMLButtonElement}
 */
function actButton(picture, act) {
  return el('button', { type: 'button', class: 'icon-button', onclick: act }, icon(picture));
}

/**
 * @param {string} picture
 * @returns {HTMLElement}
 */
function sign(picture) {
  return el('span', { class: 'roster-sign', role: 'img' }, icon(picture));
}

/**
 * @param {Person} person
 * @returns {string}
 */
function notesOf(person) {
  const notes = [];
  if (person.me) notes.push('You');
  if (person.moderator) notes.push('Moderator');
  if (person.recording) notes.push('Records the call');
  if (!person.me && person.condition !== 'fine') notes.push(conditionWords(person.condition));
  else if (person.quality === 'poor') notes.push('Poor connection');
  else if (person.quality === 'fair') notes.push('Fair connection');
  return notes.join(' · ');
}

/**
 * @param {HTMLElement} holder
 * @param {string} picture
 * @param {boolean} on
 * @param {string} what
 */
function showSign(holder, picture, on, what) {
  setIcon(holder, on ? picture : `${picture}-off`);
  setAttribute(holder, 'data-off', !on);
  label(holder, `${what} ${on ? 'on' : 'off'}`);
}

/**
 * @param {HTMLElement} node
 * @param {string} text
 */
function label(node, text) {
  setAttribute(node, 'aria-label', text);
  setAttribute(node, 'title', text);
}
