// Who owns what is recorded in this browser. There are no accounts: it is a name that this browser made up once.

import { recall, remember } from './preferences.js';

/** @returns {string} the same on each visit, where the browser remembers anything */
export function ownerId() {
  const known = recall('owner');
  if (/^[A-Za-z0-9_-]{1,64}$/.test(known)) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  const made = `b-${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
  remember('owner', made);
  return made;
}
