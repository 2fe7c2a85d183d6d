/**
 * The participant that this window was in a room, so that a reload is a return and no newcomer.
 * @module
 */

/** @param {string} room */
const keyOf = (room) => `greenroom.user_id.${room}`;

/**
 * @param {Storage | null} storage
 * @param {string} room
 * @returns {string | undefined}
 */
export function rememberedUserId(storage, room) {
  try {
    return storage?.getItem(keyOf(room)) ?? undefined;
  } catch {
    return undefined; // storage is switched off: a reload gets a new id
  }
}

/**
 * @param {Storage | null} storage
 * @param {string} room
 * @param {string} userId
 */
export function rememberUserId(storage, room, userId) {
  try {
    storage?.setItem(keyOf(room), userId);
  } catch {
    // Storage is full or switched off; only a reload needs it.
  }
}
