// Several sounds mixed into one track, whose sources may come and go while it is recorded.

const LIMIT_DECIBELS = -6;
const RESUME_MS = 500;

/** Mixes audio tracks. `track` stays the same one for the life of the mix, silent while there is nothing in it. */
export class AudioMix {
  constructor() {
    this.context = new AudioContext();
    this.output = this.context.createMediaStreamDestination();
    // Many voices at once add up to more than the scale holds: they are held down, not clipped.
    this.limiter = new DynamicsCompressorNode(this.context, { threshold: LIMIT_DECIBELS, knee: 6, ratio: 12, attack: 0.003, release: 0.2 });
    this.limiter.connect(this.output);
    // Without any input there would be no samples at all, and a recorder waits for the first.
    this.silence = new ConstantSourceNode(this.context, { offset: 0 });
    this.silence.connect(this.output);
    this.silence.start();
    /** @type {Map<MediaStreamTrack, MediaStreamAudioSourceNode>} */
    this.sources = new Map();
  }

  /** @returns {MediaStreamTrack} */
  get track() {
    return /** @type {MediaStreamTrack} */ (this.output.stream.getAudioTracks()[0]);
  }

  /**
   * Mixes exactly these.
   *
   * @param {Iterable<MediaStreamTrack>} tracks
   */
  sync(tracks) {
    const wanted = new Set([...tracks].filter((track) => track.readyState === 'live'));
    for (const [track, source] of this.sources) {
      if (wanted.has(track)) continue;
      source.disconnect();
      this.sources.delete(track);
    }
    for (const track of wanted) {
      if (this.sources.has(track)) continue;
      const source = this.context.createMediaStreamSource(new MediaStream([track]));
      source.connect(this.limiter);
      this.sources.set(track, source);
    }
  }

  /** Starts the clock of sound, which browsers hold until the person has done something on the page. */
  async resume() {
    if (this.context.state !== 'suspended') return;
    const running = this.context.resume();
    // Not waited for without an end: after a reload nobody may have touched the page yet.
    await Promise.race([running, new Promise((resolve) => setTimeout(resolve, RESUME_MS))]);
    if (this.context.state === 'suspended') {
      for (const type of ['pointerdown', 'keydown']) addEventListener(type, () => void this.context.resume(), { once: true });
    }
  }

  /** Ends the mix and its track. */
  close() {
    if (this.context.state === 'closed') return;
    this.sync([]);
    this.track.stop();
    void this.context.close();
  }
}
