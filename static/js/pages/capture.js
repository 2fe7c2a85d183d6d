// How large this person's picture is: the more people watch, the fewer pixels each copy has.
// In a mesh every participant encodes and sends one copy to each other, so the sum stays bounded.

/**
 * @typedef {object} Capture
 * @property {number} width pixels
 * @property {number} height pixels
 * @property {number} framesPerSecond
 * @property {number} bitsPerSecond at most, for each copy that is sent
 * @property {number} screenFramesPerSecond of a shared screen, which stays sharp and gets slower instead
 */

/** @type {readonly Capture[]} */
const STEPS = [
  { width: 1280, height: 720, framesPerSecond: 30, bitsPerSecond: 1_800_000, screenFramesPerSecond: 15 },
  { width: 640, height: 360, framesPerSecond: 24, bitsPerSecond: 600_000, screenFramesPerSecond: 10 },
  { width: 320, height: 180, framesPerSecond: 15, bitsPerSecond: 180_000, screenFramesPerSecond: 5 },
];
/** @type {Capture} */
const SMALL = { width: 160, height: 120, framesPerSecond: 8, bitsPerSecond: 60_000, screenFramesPerSecond: 5 };
const SCREEN_BITS_PER_SECOND = 2_500_000;

/**
 * What to capture and send in a call of this size.
 *
 * @param {number} people everyone in the call, this person too
 * @param {boolean} small the person asked for the smallest picture, for a weak machine or network
 * @returns {Capture}
 */
export function captureFor(people, small) {
  if (small) return SMALL;
  const step = people <= 2 ? 0 : people <= 4 ? 1 : 2;
  return /** @type {Capture} */ (STEPS[step]);
}

/**
 * Whether the address asks for the smallest picture (`?video=small`).
 *
 * @returns {boolean}
 */
export function smallVideoAsked() {
  return new URLSearchParams(location.search).get('video') === 'small';
}

/**
 * Bounds what is sent to each participant. Harmless to repeat.
 *
 * @param {Iterable<RTCPeerConnection>} connections
 * @param {import('./media.js').LocalMedia} media
 * @param {Capture} capture
 */
export async function boundSenders(connections, media, capture) {
  const links = [...connections];
  const screenBits = Math.max(300_000, Math.round(SCREEN_BITS_PER_SECOND / Math.max(1, links.length)));
  for (const connection of links) {
    for (const sender of connection.getSenders()) {
      if (sender.track === null) continue;
      if (sender.track === media.tracks.video) await bound(sender, capture.bitsPerSecond);
      else if (sender.track === media.screen) await bound(sender, screenBits);
    }
  }
}

/**
 * @param {RTCRtpSender} sender
 * @param {number} bitsPerSecond
 */
async function bound(sender, bitsPerSecond) {
  const parameters = sender.getParameters();
  const [encoding] = parameters.encodings ?? [];
  if (!encoding || encoding.maxBitrate === bitsPerSecond) return;
  encoding.maxBitrate = bitsPerSecond;
  try {
    await sender.setParameters(parameters);
  } catch {
    // The link is closing or being set up again; the next change bounds it.
  }
}
