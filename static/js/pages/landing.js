// The landing page: a name, a room, and off to the room's own page.

import { need, setAttribute, setText } from './dom.js';
import { NAME_CHARS_MAX, inviteLink, parseRoomName, suggestRoomName } from './names.js';
import { recall, remember } from './preferences.js';

const form = need('form', HTMLFormElement);
const name = need('#name', HTMLInputElement);
const room = need('#room', HTMLInputElement);
const nameError = need('#name-error', HTMLElement);
const roomError = need('#room-error', HTMLElement);
const link = need('#link', HTMLElement);

name.maxLength = NAME_CHARS_MAX;
name.value = recall('name');
room.value = new URLSearchParams(location.search).get('room') ?? suggestRoomName();
showLink();
(name.value === '' ? name : room).focus();

room.addEventListener('input', () => {
  showError(room, roomError, '');
  showLink();
});
name.addEventListener('input', () => showError(name, nameError, ''));
need('#suggest', HTMLButtonElement).addEventListener('click', () => {
  room.value = suggestRoomName();
  showError(room, roomError, '');
  showLink();
});

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const parsed = parseRoomName(room.value);
  const typed = name.value.trim();
  showError(room, roomError, parsed.ok ? '' : parsed.message);
  showError(name, nameError, typed === '' ? 'Type the name that the others should see.' : '');
  if (typed === '') return name.focus();
  if (!parsed.ok) return room.focus();
  remember('name', typed);
  location.assign(`/room/${parsed.name}`);
});

/** Shows the link that the room will have, as far as there is one. */
function showLink() {
  const parsed = parseRoomName(room.value);
  setText(link, parsed.ok ? inviteLink(parsed.name).replace(/^https?:\/\//, '') : '');
}

/**
 * @param {HTMLInputElement} field
 * @param {HTMLElement} place
 * @param {string} message empty: nothing is wrong
 */
function showError(field, place, message) {
  setText(place, message);
  place.hidden = message === '';
  setAttribute(field, 'aria-invalid', message === '' ? null : 'true');
}
