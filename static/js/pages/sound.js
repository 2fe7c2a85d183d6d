// The voices of the others. Sound has elements of its own, apart from the pictures: a picture may always
// play, sound only once the person has touched the page, and a hidden picture must not silence anybody.

import { recall } from './preferences.js';

/** @typedef {import('./people.js').Person} Person */

/** Plays everyone. Event: `blocked` when the browser wants a click first. */
export class Sound extends EventTarget {
  constructor() {
    super();
    /** @type {Map<string, HTMLAudioElement>} */
    this.players = new Map();
    this.blocked = false;
    this.speaker = recall('speaker');
  }

  /**
   * Plays exactly these people and their shared screens.
   *
   * @param {Person[]} people
   */
  sync(people) {
    /** @type {Map<string, MediaStream>} */
    const streams = new Map();
    for (const person of people) {
      if (person.me) continue;
      if (hasSound(person.stream)) streams.set(`voice ${person.id}`, person.stream);
      if (person.screenOn && hasSound(person.screen)) streams.set(`screen ${person.id}`, person.screen);
    }
    for (const [key, player] of this.players) {
      if (streams.has(key)) continue;
      player.srcObject = null;
      this.players.delete(key);
    }
    for (const [key, stream] of streams) this.#play(key, stream);
  }

  /**
   * Sends all sound to another device.
   *
   * @param {string} deviceId
   */
  useSpeaker(deviceId) {
    this.speaker = deviceId;
    for (const player of this.players.values()) void this.#route(player);
  }

  /** Plays what was blocked; called from a click. */
  async resume() {
    this.blocked = false;
    await Promise.all([...this.players.values()].map((player) => this.#start(player)));
  }

  /** Silence. */
  stop() {
    this.sync([]);
    this.blocked = false;
  }

  /**
   * @param {string} key
   * @param {MediaStream} stream
   */
  #play(key, stream) {
    let player = this.players.get(key);
    if (!player) {
      player = new Audio();
      player.autoplay = true;
      this.players.set(key, player);
      void this.#route(player);
    }
    if (player.srcObject === stream) return;
    player.srcObject = stream;
    void this.#start(player);
  }

  /** @param {HTMLAudioElement} player */
  async #start(player) {
    try {
      await player.play();
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== 'NotAllowedError' || this.blocked) return;
      this.blocked = true;
      this.dispatchEvent(new Event('blocked'));
    }
  }

  /** @param {HTMLAudioElement} player */
  async #route(player) {
    if (!('setSinkId' in player)) return;
    try {
      await player.setSinkId(this.speaker);
    } catch {
      // The device is gone; the browser's own choice is heard.
    }
  }
}

/**
 * @param {MediaStream | null} stream
 * @returns {stream is MediaStream}
 */
function hasSound(stream) {
  return stream !== null && stream.getAudioTracks().length > 0;
}
