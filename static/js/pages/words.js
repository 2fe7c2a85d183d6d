// What the pages say when something is in the way: what happened, and what to do.

/** @typedef {import('./asking.js').MediaProblem} MediaProblem */
/** @typedef {import('./asking.js').MediaKind} MediaKind */
/** @typedef {{ title: string, text: string, retry: boolean, icon: string }} Explanation */

/** @type {Record<MediaKind, string>} */
const DEVICE = { audio: 'microphone', video: 'camera' };

/**
 * Explains why there is no picture or no sound.
 *
 * @param {{ audio: MediaProblem | null, video: MediaProblem | null }} problems
 * @returns {Explanation[]} one for each thing to be told; one for both where both have the same reason
 */
export function explainDevices(problems) {
  if (problems.audio && problems.audio === problems.video) {
    return [explain(problems.audio, 'camera and microphone', 'camera-off', true)];
  }
  /** @type {Explanation[]} */
  const all = [];
  if (problems.video) all.push(explain(problems.video, DEVICE.video, 'camera-off', false));
  if (problems.audio) all.push(explain(problems.audio, DEVICE.audio, 'mic-off', false));
  return all;
}

/**
 * One sentence for a toast, when a device that was asked for in the call cannot be had.
 *
 * @param {MediaProblem} problem
 * @param {MediaKind} kind
 * @returns {string}
 */
export function explainBriefly(problem, kind) {
  const { title, text } = explain(problem, DEVICE[kind], '', false);
  return `${title}. ${text}`;
}

/**
 * @param {MediaProblem} problem
 * @param {string} what
 * @param {string} icon
 * @param {boolean} both
 * @returns {Explanation}
 */
function explain(problem, what, icon, both) {
  const What = what[0]?.toUpperCase() + what.slice(1);
  const are = both ? 'are' : 'is';
  const them = both ? 'them' : 'it';
  switch (problem) {
    case 'insecure':
      return {
        title: `${What} need${both ? '' : 's'} a secure address`,
        text:
          'Browsers give out cameras and microphones only on https:// addresses or on localhost. You can join now to ' +
          'watch, listen and chat. To be seen and heard, open this room over https://, or ask whoever runs this server to turn it on.',
        retry: false,
        icon,
      };
    case 'denied':
      return {
        title: `${What} ${are} blocked`,
        text: `Allow ${them} for this page: use the ${both ? 'camera' : what} or lock symbol beside the address, then try again. You can also join without.`,
        retry: true,
        icon,
      };
    case 'dismissed':
      return {
        title: `${What} not allowed yet`,
        text: `The browser’s question was closed without an answer. Try again and choose Allow, or join without.`,
        retry: true,
        icon,
      };
    case 'missing':
      return {
        title: `No ${what} found`,
        text: both
          ? 'You can join to watch, listen and chat. To be seen and heard, plug in or switch on a device and try again.'
          : what === DEVICE.video
            ? 'Others will see your initials. To be seen, plug in or switch on a camera and try again.'
            : 'You can watch, listen and chat. To be heard, plug in or switch on a microphone and try again.',
        retry: true,
        icon,
      };
    case 'busy':
      return {
        title: `${What} ${are} in use`,
        text: `Another program or tab holds ${them}. Close it there, then try again, or join without.`,
        retry: true,
        icon,
      };
    case 'failed':
      return {
        title: `${What} did not start`,
        text: `The browser gave no reason. Unplug ${them} and plug ${them} in again, choose another device, or join without.`,
        retry: true,
        icon,
      };
  }
}
