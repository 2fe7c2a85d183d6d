// The pages that stand in place of a call: full, locked, removed, opened elsewhere, left, and what to do then.

import { el, need, setIcon, setText } from './dom.js';

/** @typedef {'again' | 'here' | 'home'} NoticeAct */
/**
 * @typedef {object} Notice
 * @property {string} icon
 * @property {string} title what happened
 * @property {string} text what to do
 * @property {{ act: NoticeAct, label: string }[]} actions the first is the main one
 */

const HOME = /** @type {const} */ ({ act: 'home', label: 'Choose another room' });

/** @type {Record<string, Notice>} */
const NOTICES = {
  bad_room: {
    icon: 'alert',
    title: 'That is not a room',
    text: 'A room name has up to 64 characters: letters A to Z, digits, “-” and “_”. Check the link that you were given, or choose a room yourself.',
    actions: [{ act: 'home', label: 'Choose a room' }],
  },
  unsupported: {
    icon: 'alert',
    title: 'This browser cannot make calls',
    text: 'It has no WebRTC, or it is switched off. Use a current Firefox, Chrome, Edge or Safari.',
    actions: [HOME],
  },
  room_full: {
    icon: 'people',
    title: 'This room is full',
    text: 'Everyone who fits is already here. Try again when somebody has left, or agree on another room.',
    actions: [{ act: 'again', label: 'Try again' }, HOME],
  },
  room_locked: {
    icon: 'lock',
    title: 'This room is locked',
    text: 'The moderator is letting nobody else in. Ask them to unlock it, then try again.',
    actions: [{ act: 'again', label: 'Try again' }, HOME],
  },
  kicked: {
    icon: 'remove-person',
    title: 'You were removed from the call',
    text: 'The moderator ended your part in this call. If you think this was a mistake, talk to them another way.',
    actions: [HOME],
  },
  banned: {
    icon: 'remove-person',
    title: 'You cannot come back into this call',
    text: 'The moderator removed you from it. If you think this was a mistake, talk to them another way.',
    actions: [HOME],
  },
  replaced: {
    icon: 'window',
    title: 'The call is open somewhere else',
    text: 'You joined it from another tab or window, and it goes on there. You can bring it back to this one.',
    actions: [{ act: 'here', label: 'Use here' }, HOME],
  },
  left: {
    icon: 'leave',
    title: 'You left the call',
    text: 'Your camera and microphone are off.',
    actions: [{ act: 'again', label: 'Rejoin' }, HOME],
  },
  unauthorised: {
    icon: 'lock',
    title: 'You need an invitation',
    text: 'This server lets people in with a personal link only. Open the link that you were sent, or ask for a new one.',
    actions: [HOME],
  },
  overloaded: {
    icon: 'alert',
    title: 'The server is busy',
    text: 'It takes nobody new at this moment. Wait a little, then try again.',
    actions: [{ act: 'again', label: 'Try again' }, HOME],
  },
  unreachable: {
    icon: 'offline',
    title: 'The server cannot be reached',
    text: 'Check your network: Wi-Fi, cable or mobile data. If others cannot reach it either, the server is down.',
    actions: [{ act: 'again', label: 'Try again' }, HOME],
  },
  lost: {
    icon: 'offline',
    title: 'The call was lost',
    text: 'Your connection was away for too long, so your place was given up. Check your network, then join again.',
    actions: [{ act: 'again', label: 'Join again' }, HOME],
  },
  other: {
    icon: 'alert',
    title: 'You could not join',
    text: 'Something went wrong that should not. Try again; if it stays so, tell whoever runs this server what is written below.',
    actions: [{ act: 'again', label: 'Try again' }, HOME],
  },
};

/**
 * Codes of the node and close codes of its socket, where they differ from the keys above.
 *
 * @type {Record<string, string>}
 */
const SAME_AS = {
  4400: 'other',
  4401: 'unauthorised',
  4403: 'unauthorised',
  4409: 'replaced',
  4410: 'kicked',
  4429: 'overloaded',
  1013: 'overloaded',
  1000: 'left',
  unauthorized: 'unauthorised',
  forbidden: 'unauthorised',
  rate_limited: 'overloaded',
  too_many_connections: 'overloaded',
  draining: 'overloaded',
  not_ready: 'overloaded',
};

/**
 * Finds which page tells about a code.
 *
 * @param {(string | number | null | undefined)[]} codes of a refusal or an ending, the most telling first
 * @param {string} otherwise where none of them is known
 * @returns {string}
 */
export function noticeFor(codes, otherwise) {
  for (const code of codes) {
    const name = SAME_AS[String(code)] ?? String(code);
    if (name in NOTICES) return name;
  }
  return otherwise;
}

/**
 * Shows such a page and waits for the person's choice. `home` is a plain link and never returns.
 *
 * @param {HTMLElement} screen
 * @param {string} name
 * @param {{ room: string | null, detail?: string }} about `detail` is shown small, for support
 * @returns {Promise<NoticeAct>}
 */
export function showNotice(screen, name, { room, detail }) {
  const notice = NOTICES[name] ?? /** @type {Notice} */ (NOTICES.other);
  const part = (/** @type {string} */ key) => need(`[data-part=${key}]`, HTMLElement, screen);
  setIcon(part('icon'), notice.icon);
  setText(part('title'), notice.title);
  setText(part('text'), notice.text);
  setText(part('room'), room ? `Room: ${room}` : '');
  setText(part('detail'), detail ?? '');
  part('room').hidden = !room;
  part('detail').hidden = name !== 'other' || !detail;
  screen.dataset.notice = name;
  document.title = `${notice.title} · Greenroom`;
  return new Promise((resolve) => {
    const buttons = notice.actions.map(({ act, label }, position) => {
      const look = position === 0 ? 'button primary' : 'button';
      if (act === 'home') return el('a', { class: look, href: '/' }, label);
      return el('button', { type: 'button', class: look, onclick: () => resolve(act) }, label);
    });
    part('actions').replaceChildren(...buttons);
    part('title').focus();
  });
}
