// How the browser is asked for a camera and a microphone, and what its refusals mean.

/** @typedef {'audio' | 'video'} MediaKind */
/**
 * Why a device is not there: `insecure` page, `denied` by the person or a policy, `dismissed` question,
 * `missing` device, `busy` in another program, or `failed` for a reason the browser does not tell.
 *
 * @typedef {'insecure' | 'denied' | 'dismissed' | 'missing' | 'busy' | 'failed'} MediaProblem
 */

const DEVICE_KIND = /** @type {const} */ ({ audio: 'audioinput', video: 'videoinput' });
const PERMISSION = /** @type {const} */ ({ audio: 'microphone', video: 'camera' });

/**
 * Finds out which kinds of device this machine has, without asking the person.
 *
 * @returns {Promise<Record<MediaKind, boolean>>}
 */
export async function presentKinds() {
  try {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const has = (/** @type {MediaKind} */ kind) => devices.some((device) => device.kind === DEVICE_KIND[kind]);
    return { audio: has('audio'), video: has('video') };
  } catch {
    return { audio: true, video: true };
  }
}

/**
 * What the person has decided before; `denied` where the browser does not tell.
 *
 * @param {MediaKind} kind
 * @returns {Promise<PermissionState>}
 */
export async function permissionState(kind) {
  try {
    const name = /** @type {PermissionName} */ (/** @type {string} */ (PERMISSION[kind]));
    return (await navigator.permissions.query({ name })).state;
  } catch {
    return 'denied';
  }
}

/**
 * What a refusal of the browser means.
 *
 * @param {unknown} error
 * @returns {MediaProblem}
 */
export function problemOf(error) {
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError' || name === 'SecurityError') return 'denied';
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return 'missing';
  if (name === 'NotReadableError' || name === 'AbortError') return 'busy';
  return 'failed';
}

/**
 * What is asked of a microphone.
 *
 * @param {string} deviceId preferred, not demanded: it may be unplugged today
 * @returns {MediaTrackConstraints}
 */
export function audioConstraints(deviceId) {
  const chosen = deviceId === '' ? {} : { deviceId: { ideal: deviceId } };
  return { ...chosen, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
}

/**
 * What is asked of a camera.
 *
 * @param {import('./capture.js').Capture} capture
 * @param {string} deviceId
 * @returns {MediaTrackConstraints}
 */
export function videoConstraints(capture, deviceId) {
  const chosen = deviceId === '' ? { facingMode: 'user' } : { deviceId: { ideal: deviceId } };
  return {
    ...chosen,
    width: { ideal: capture.width },
    height: { ideal: capture.height },
    frameRate: { ideal: capture.framesPerSecond, max: capture.framesPerSecond },
  };
}
