/**
 * How well one participant's media arrive, from the browser's own measurements.
 * @module
 */

/** @typedef {import('./types.d.ts').Quality} Quality */

/**
 * Up to these it is good, or else fair; beyond it is poor. Round trip in seconds; loss as a part of all packets; frame
 * rate in frames per second, from below, and only while a picture is sent.
 */
const LIMITS = {
  good: { rttSecs: 0.25, loss: 0.03, framesPerSec: 12 },
  fair: { rttSecs: 0.6, loss: 0.1, framesPerSec: 5 },
};

/** Turns successive reports of one connection into a judgement that does not flicker. */
export class QualityMeter {
  #lost = 0;
  #received = 0;
  /** @type {Quality} */
  #latest = 'unknown';
  /** @type {Quality} */
  #settled = 'unknown';

  /**
   * @param {RTCStatsReport | null} report null while there is no connection
   * @param {{ video: boolean }} sent whether they say that they send a picture
   * @returns {Quality} changes when two reports in a row agree
   */
  take(report, sent) {
    const judged = report ? this.#judge(read(report), sent) : 'unknown';
    if (judged === this.#latest) this.#settled = judged;
    this.#latest = judged;
    return this.#settled;
  }

  /**
   * @param {ReturnType<typeof read>} now
   * @param {{ video: boolean }} sent
   * @returns {Quality}
   */
  #judge(now, { video }) {
    // Counters begin again with a new connection.
    const lost = Math.max(0, now.lost - this.#lost);
    const received = Math.max(0, now.received - this.#received);
    this.#lost = now.lost;
    this.#received = now.received;
    if (now.rttSecs === undefined) return 'unknown';
    const loss = lost + received > 0 ? lost / (lost + received) : 0;
    const framesPerSec = video ? now.framesPerSec : undefined;
    const keeps = (/** @type {typeof LIMITS.good} */ limit) =>
      (now.rttSecs ?? 0) <= limit.rttSecs && loss <= limit.loss && (framesPerSec ?? Infinity) >= limit.framesPerSec;
    if (keeps(LIMITS.good)) return 'good';
    return keeps(LIMITS.fair) ? 'fair' : 'poor';
  }
}

/** @param {RTCStatsReport} report */
function read(report) {
  const sum = {
    lost: 0,
    received: 0,
    /** @type {number | undefined} */ framesPerSec: undefined,
    /** @type {number | undefined} */ rttSecs: undefined,
  };
  report.forEach((entry) => {
    if (entry.type === 'inbound-rtp') {
      sum.lost += entry.packetsLost ?? 0;
      sum.received += entry.packetsReceived ?? 0;
      // Camera and screen are both pictures; the one that moves counts.
      if (entry.framesPerSecond !== undefined) sum.framesPerSec = Math.max(sum.framesPerSec ?? 0, entry.framesPerSecond);
    } else if (entry.type === 'transport' && entry.selectedCandidatePairId) {
      sum.rttSecs = report.get(entry.selectedCandidatePairId)?.currentRoundTripTime ?? sum.rttSecs;
    }
  });
  return sum;
}
