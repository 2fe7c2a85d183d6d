// How loud a microphone is, for a meter.

/** @type {AudioContext | null} */
let shared = null;
/** How many meters watch something now; without any, the machinery of sound rests. */
let watching = 0;

/**
 * Watches one audio track and reports how loud it is, some twenty times a second.
 */
export class LevelMeter {
  /**
   * @param {(level: number) => void} report 0 (silence) to 1
   */
  constructor(report) {
    this.report = report;
    /** @type {MediaStreamTrack | null} */
    this.track = null;
    /** @type {MediaStreamAudioSourceNode | null} */
    this.source = null;
    this.timer = 0;
  }

  /**
   * Watches another track, or none.
   *
   * @param {MediaStreamTrack | null} track
   */
  watch(track) {
    if (track === this.track) return;
    this.stop();
    if (!track || typeof AudioContext !== 'function') return;
    this.track = track;
    watching += 1;
    shared ??= new AudioContext();
    const context = shared;
    const analyser = context.createAnalyser();
    analyser.fftSize = 512;
    this.source = context.createMediaStreamSource(new MediaStream([track]));
    this.source.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.timer = window.setInterval(() => {
      // Browsers keep the clock of sound stopped until the person has done something on the page.
      if (context.state === 'suspended') void context.resume();
      analyser.getFloatTimeDomainData(samples);
      this.report(loudness(samples));
    }, 50);
  }

  /** Stops watching. */
  stop() {
    if (!this.track) return;
    clearInterval(this.timer);
    this.source?.disconnect();
    this.source = null;
    this.track = null;
    this.report(0);
    watching -= 1;
    if (watching === 0) void shared?.suspend();
  }
}

/**
 * @param {Float32Array} samples -1 to 1
 * @returns {number} 0 to 1, on a scale that rises as ears hear
 */
function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / samples.length + 1e-9);
  return Math.min(1, Math.max(0, (decibels + 60) / 50));
}
