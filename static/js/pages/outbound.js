// Keeps what the call sends equal to what is on: one slot at a time, and always the newest wish.

/** @typedef {import('../index.js').Call} Call */
/** @typedef {import('./media.js').LocalMedia} LocalMedia */
/** @typedef {'audio' | 'video' | 'screen' | 'screenAudio'} Slot */

const SLOTS = /** @type {const} */ (['audio', 'video', 'screen', 'screenAudio']);

/** Sends the local tracks into one call. */
export class Outbound {
  /**
   * @param {Call} call
   * @param {LocalMedia} media
   * @param {(error: unknown) => void} failed
   */
  constructor(call, media, failed) {
    this.call = call;
    this.media = media;
    this.failed = failed;
    /** @type {Record<Slot, MediaStreamTrack | null>} */
    this.sent = { audio: null, video: null, screen: null, screenAudio: null };
    /** @type {Set<Slot>} */
    this.busy = new Set();
  }

  /** Sends what differs. */
  sync() {
    for (const slot of SLOTS) void this.#syncSlot(slot);
  }

  /** @param {Slot} slot */
  async #syncSlot(slot) {
    if (this.busy.has(slot)) return;
    this.busy.add(slot);
    try {
      for (let track = this.#wanted(slot); track !== this.sent[slot]; track = this.#wanted(slot)) {
        this.sent[slot] = track;
        await this.call.setTrack(slot, track);
      }
    } catch (error) {
      this.failed(error);
    } finally {
      this.busy.delete(slot);
    }
  }

  /**
   * @param {Slot} slot
   * @returns {MediaStreamTrack | null}
   */
  #wanted(slot) {
    const { media } = this;
    if (slot === 'audio') return media.micOn ? media.tracks.audio : null;
    if (slot === 'video') return media.cameraOn ? media.tracks.video : null;
    return slot === 'screen' ? media.screen : media.screenAudio;
  }
}
