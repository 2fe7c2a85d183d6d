// Names of rooms and of people: what is allowed, what is suggested, how they are shown.

const ROOM_CHARS_MAX = 64;
/** As many as the name field takes; the node has a bound of its own. */
export const NAME_CHARS_MAX = 60;
const TONES = 8;

const QUALITIES = (
  'amber ample autumn balmy brisk bright calm candid cedar clear coral cosy crisp dapper early easy ' +
  'fair fern fleet fresh gentle glad golden happy hazel honest jolly keen kind light lively lunar ' +
  'maple mellow merry mild misty neat noble olive patient plucky quick quiet rosy silver smooth ' +
  'snug solar spry steady still sunny tidy vivid warm wide'
).split(' ');
const PLACES = (
  'arbor bay beach bower bridge brook canyon cave cliff coast cove creek dale delta dune field ' +
  'fjord forest garden glade glen grove harbor heath hill hollow island lagoon lake lane lawn marsh ' +
  'meadow mesa moor oasis orchard pasture path peak pier pond prairie reef ridge river shore spring ' +
  'summit terrace trail vale valley'
).split(' ');
const ANIMALS = (
  'badger bee bison crane cricket deer dove eagle egret falcon finch fox gecko hare heron ibis jay ' +
  'kite koala lark lemur linnet lion lynx magpie marten mole moose moth newt orca osprey otter owl ' +
  'panda pike puffin quail rabbit raven robin salmon seal sparrow stork swan swift tern thrush tiger ' +
  'toad trout turtle walrus whale wombat wren yak zebra'
).split(' ');

/**
 * @typedef {{ ok: true, name: string } | { ok: false, message: string }} ParsedRoom
 */

/**
 * Turns what a person typed or pasted into a room name. Spaces become `-`; of an invite link the room is taken.
 *
 * @param {string} input
 * @returns {ParsedRoom} with a message that says what is wrong and what to do
 */
export function parseRoomName(input) {
  const name = roomOfLink(input.trim()).replace(/\s+/g, '-');
  if (name === '') return { ok: false, message: 'Type a room name, or use the suggestion.' };
  if (name.length > ROOM_CHARS_MAX) {
    return { ok: false, message: `That is ${name.length} characters; a room name has at most ${ROOM_CHARS_MAX}.` };
  }
  const wrong = [...new Set([...name].filter((character) => !/[A-Za-z0-9_-]/.test(character)))];
  if (wrong.length > 0) {
    const shown = wrong.slice(0, 5).map((character) => `“${character}”`).join(' ');
    return { ok: false, message: `A room name cannot contain ${shown}. Use letters A to Z, digits, “-” and “_”.` };
  }
  return { ok: true, name };
}

/**
 * The room that a page address names.
 *
 * @param {string} pathname such as `/room/quiet-glade`
 * @returns {string | null} null where it names none, or none that can exist
 */
export function roomOfPath(pathname) {
  const match = /^\/room\/([^/]+)\/?$/.exec(pathname);
  if (!match?.[1]) return null;
  const name = decode(match[1]);
  return /^[A-Za-z0-9_-]{1,64}$/.test(name) ? name : null;
}

/**
 * Makes a room name that is easy to say and hard to guess.
 *
 * @returns {string} such as `quiet-harbor-wren-402`
 */
export function suggestRoomName() {
  const number = 100 + randomBelow(900);
  return [QUALITIES, PLACES, ANIMALS].map((words) => words[randomBelow(words.length)]).concat(String(number)).join('-');
}

/**
 * How a person is called on screen.
 *
 * @param {string | null | undefined} name
 * @returns {string}
 */
export function shownName(name) {
  const trimmed = (name ?? '').trim();
  return trimmed === '' ? 'Guest' : trimmed;
}

/**
 * One or two letters that stand for a person without a picture.
 *
 * @param {string} name
 * @returns {string}
 */
export function initialsOf(name) {
  const words = shownName(name).split(/\s+/);
  const first = firstLetter(words[0] ?? '');
  const last = words.length > 1 ? firstLetter(words[words.length - 1] ?? '') : '';
  return (first + last).toUpperCase() || '?';
}

/**
 * A stable colour for a person.
 *
 * @param {string} userId
 * @returns {number} 0 to 7, a `data-tone` of the style sheet
 */
export function toneOf(userId) {
  let sum = 0;
  for (const character of userId) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return sum % TONES;
}

/**
 * The address that lets others in.
 *
 * @param {string} room
 * @returns {string}
 */
export function inviteLink(room) {
  return new URL(`/room/${room}`, location.origin).href;
}

/**
 * @param {string} text
 * @returns {string}
 */
function roomOfLink(text) {
  const match = /\/room\/([^/?#\s]+)/.exec(text);
  return match?.[1] ? decode(match[1]) : text;
}

/**
 * @param {string} text
 * @returns {string}
 */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * @param {string} word
 * @returns {string} its first letter or digit, else its first character
 */
function firstLetter(word) {
  return /[\p{L}\p{N}]/u.exec(word)?.[0] ?? [...word][0] ?? '';
}

/**
 * @param {number} bound
 * @returns {number}
 */
function randomBelow(bound) {
  const [value = 0] = crypto.getRandomValues(new Uint32Array(1));
  return value % bound;
}
