// Everyone in the call as the page shows them: this person first, the others in the order they came.

import { shownName } from './names.js';

/** @typedef {import('../index.js').Call} Call */
/** @typedef {import('../index.js').Participant} Participant */
/** @typedef {import('./media.js').LocalMedia} LocalMedia */

/**
 * @typedef {object} Person
 * @property {string} id
 * @property {string} name
 * @property {boolean} me
 * @property {boolean} moderator
 * @property {'fine' | 'connecting' | 'suspect' | 'reconnecting' | 'failed'} condition `suspect`: only the signaling
 *   is lost, picture and sound may go on; `reconnecting`, `failed`: the media are lost
 * @property {'good' | 'fair' | 'poor' | 'unknown'} quality
 * @property {boolean} audioOn
 * @property {boolean} videoOn
 * @property {boolean} screenOn
 * @property {boolean} recording they record the call
 * @property {boolean} mirrored shown as in a mirror
 * @property {MediaStream | null} stream
 * @property {MediaStream | null} screen
 */

/** Lists the people of one call, in an order that never jumps. */
export class People {
  /**
   * @param {Call} call
   * @param {LocalMedia} media
   */
  constructor(call, media) {
    this.call = call;
    this.media = media;
    /** @type {Map<string, number>} who came when; kept for those who left, so that a return changes nothing */
    this.order = new Map();
    /** @type {Map<string, string>} names of everyone who was ever here */
    this.names = new Map();
    /** @type {MediaStream | null} */
    this.ownStream = null;
    /** @type {MediaStream | null} */
    this.ownScreen = null;
  }

  /**
   * @returns {Person[]}
   */
  list() {
    const others = [...this.call.participants.values()].filter(({ userId }) => userId !== this.call.me?.userId);
    for (const { userId } of others) {
      if (!this.order.has(userId)) this.order.set(userId, this.order.size);
    }
    others.sort((one, other) => this.#place(one) - this.#place(other));
    return [this.#self(), ...others.map(personOf)];
  }

  /**
   * The name of somebody, also of one who just left.
   *
   * @param {string} userId
   * @returns {string}
   */
  nameOf(userId) {
    const participant = this.call.participants.get(userId);
    if (participant) this.names.set(userId, shownName(participant.username));
    if (userId === this.call.me?.userId) return 'You';
    return this.names.get(userId) ?? 'Somebody';
  }

  /** @returns {Person} */
  #self() {
    const { me } = this.call;
    const { media } = this;
    this.ownStream = streamOf(this.ownStream, media.cameraOn ? media.tracks.video : null);
    this.ownScreen = streamOf(this.ownScreen, media.screen);
    return {
      id: me?.userId ?? '',
      name: shownName(me?.username),
      me: true,
      moderator: me?.role === 'moderator',
      condition: 'fine',
      quality: 'unknown',
      audioOn: media.micOn,
      videoOn: media.cameraOn,
      screenOn: media.screen !== null,
      recording: me?.metadata.recording === true,
      mirrored: media.tracks.video?.getSettings().facingMode !== 'environment',
      stream: this.ownStream,
      screen: this.ownScreen,
    };
  }

  /**
   * @param {Participant} participant
   * @returns {number}
   */
  #place({ userId }) {
    return this.order.get(userId) ?? 0;
  }
}

/**
 * @param {Participant} participant
 * @returns {Person}
 */
function personOf(participant) {
  const { metadata } = participant;
  return {
    id: participant.userId,
    name: shownName(participant.username),
    me: false,
    moderator: participant.role === 'moderator',
    condition: conditionOf(participant),
    quality: participant.quality,
    audioOn: metadata?.audio === true,
    videoOn: metadata?.video === true,
    screenOn: metadata?.screen === true,
    recording: metadata?.recording === true,
    mirrored: false,
    stream: participant.stream,
    screen: participant.screen,
  };
}

/**
 * @param {Participant} participant
 * @returns {Person['condition']}
 */
function conditionOf({ state, link }) {
  if (link === 'reconnecting') return 'reconnecting';
  if (state === 'suspect') return 'suspect';
  if (link === 'failed') return 'failed';
  return link === 'connected' ? 'fine' : 'connecting';
}

/**
 * @param {MediaStream | null} stream kept while it holds the same track, so that the picture does not restart
 * @param {MediaStreamTrack | null} track
 * @returns {MediaStream | null}
 */
function streamOf(stream, track) {
  if (!track) return null;
  return stream?.getTracks()[0] === track ? stream : new MediaStream([track]);
}

/**
 * What the page says about the condition of somebody's connection.
 *
 * @param {Person['condition']} condition
 * @returns {string} empty where there is nothing to say
 */
export function conditionWords(condition) {
  switch (condition) {
    case 'fine':
      return '';
    case 'connecting':
      return 'Connecting…';
    case 'suspect':
    case 'reconnecting':
      return 'Reconnecting…';
    case 'failed':
      return 'No connection';
  }
}
