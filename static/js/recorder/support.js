/**
 * What this browser can record, best first.
 * @module
 */

/** Small and sharp first, then what every WebM recorder can, then what Safari can. */
const WISHES = [
  { mimeType: 'video/webm;codecs=vp9,opus', label: 'WebM (VP9)', family: 'webm' },
  { mimeType: 'video/webm;codecs=vp8,opus', label: 'WebM (VP8)', family: 'webm' },
  { mimeType: 'video/webm', label: 'WebM', family: 'webm' },
  { mimeType: 'video/mp4', label: 'MP4', family: 'mp4' },
];

/**
 * @returns {{ mimeType: string, label: string, family: string }[]} for `new Recorder({ mimeType })`; empty where
 *   nothing can be recorded
 */
export function supported() {
  if (typeof MediaRecorder === 'undefined') return [];
  return WISHES.filter(({ mimeType }) => MediaRecorder.isTypeSupported(mimeType));
}

/**
 * The type to ask a MediaRecorder for: without a wish the best one, and for sound alone its audio sibling.
 * @param {MediaStream} stream
 * @param {string} [wish]
 * @returns {string | undefined} undefined: the browser's own choice
 */
export function typeFor(stream, wish) {
  const type = wish ?? supported()[0]?.mimeType;
  if (!type?.startsWith('video/') || stream.getVideoTracks().length > 0) return type;
  const [family = ''] = type.slice('video/'.length).split(';');
  return [`audio/${family};codecs=opus`, `audio/${family}`].find((audio) => MediaRecorder.isTypeSupported(audio));
}
