/**
 * Another participant of the room, as an application sees it.
 * @module
 */

/** @typedef {import('./types.d.ts').WireUser} WireUser */
/** @typedef {import('./peer.js').PeerLink} PeerLink */

/** Read-only for applications; `Call` keeps it current and tells of each change. */
export class Participant {
  /**
   * Microphone and camera. The object stays the same for as long as the participant is in the room; its tracks are
   * exchanged when the connection is built anew.
   */
  stream = new MediaStream();
  /** What they share, with its sound; null while they share nothing. @type {MediaStream | null} */
  screen = null;
  /** The media connection with them. @type {import('./types.d.ts').LinkState} */
  link = 'new';
  /** How well their media arrive here, measured over the last seconds. @type {import('./types.d.ts').Quality} */
  quality = 'unknown';
  /** For measurements: `peer.getStats()`, `peer.pc`. @type {PeerLink} */
  peer;

  /**
   * @param {WireUser} user
   * @param {PeerLink} peer
   */
  constructor(user, peer) {
    this.userId = user.user_id;
    this.username = user.username;
    /** @type {import('./types.d.ts').Role} */
    this.role = user.role;
    /** `suspect`: their signaling was lost, and they have some seconds to return. @type {import('./types.d.ts').Presence} */
    this.state = user.state;
    /** What they say of themselves; `audio`, `video` and `screen` say what they send. */
    this.metadata = user.metadata ?? {};
    this.peer = peer;
  }

  /**
   * Takes over what the node says.
   * @param {WireUser} user
   * @returns {boolean} whether anything is different
   */
  update(user) {
    const before = JSON.stringify([this.username, this.role, this.state, this.metadata]);
    this.username = user.username;
    this.role = user.role;
    this.state = user.state;
    this.metadata = user.metadata ?? {};
    return before !== JSON.stringify([this.username, this.role, this.state, this.metadata]);
  }

  /**
   * Puts the received tracks where they belong.
   * @returns {boolean} whether any stream is different
   */
  placeTracks() {
    const camera = exchangeTracks(this.stream, [this.peer.track('audio'), this.peer.track('video')]);
    const shared = this.metadata.screen === true && this.peer.track('screen') !== null;
    if (!shared) {
      const ended = this.screen !== null;
      this.screen = null;
      return camera || ended;
    }
    this.screen ??= new MediaStream();
    const screen = exchangeTracks(this.screen, [this.peer.track('screen'), this.peer.track('screenAudio')]);
    return camera || screen;
  }
}

/**
 * Tracks that stay are not touched, so that a playing picture does not stutter.
 * @param {MediaStream} stream
 * @param {(MediaStreamTrack | null)[]} wanted
 * @returns {boolean} whether it changed
 */
function exchangeTracks(stream, wanted) {
  const gone = stream.getTracks().filter((track) => !wanted.includes(track));
  const added = wanted.filter((track) => track !== null && stream.getTrackById(track.id) !== track);
  for (const track of gone) stream.removeTrack(track);
  for (const track of added) if (track) stream.addTrack(track);
  return gone.length > 0 || added.length > 0;
}
