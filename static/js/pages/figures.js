// Times, lengths and sizes as people read them.

const UNITS = ['bytes', 'KB', 'MB', 'GB', 'TB'];

/**
 * @param {number} ms
 * @returns {string} such as `0:07`, `12:34` or `1:02:03`
 */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (/** @type {number} */ value) => String(value).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/**
 * A length in words, for screen readers and sentences.
 *
 * @param {number} ms
 * @returns {string} such as `2 minutes 5 seconds`
 */
export function spoken(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const parts = [
    [Math.floor(seconds / 3600), 'hour'],
    [Math.floor(seconds / 60) % 60, 'minute'],
    [seconds % 60, 'second'],
  ];
  const words = parts.filter(([count]) => count !== 0).map(([count, unit]) => counted(Number(count), String(unit)));
  return words.length === 0 ? 'less than a second' : words.join(' ');
}

/**
 * @param {number} count
 * @param {string} noun singular
 * @returns {string} such as `1 piece` or `3 pieces`
 */
export function counted(count, noun) {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}

/**
 * @param {number} bytes
 * @returns {string} such as `12.4 MB`, in powers of ten
 */
export function size(bytes) {
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/**
 * @param {Date} at
 * @param {Date} [now]
 * @returns {string} such as `Today, 14:05`, `Yesterday, 9:30` or `21 November 2026, 14:05`
 */
export function when(at, now = new Date()) {
  const time = at.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
  const days = Math.round((startOfDay(now) - startOfDay(at)) / 86_400_000);
  if (days === 0) return `Today, ${time}`;
  if (days === 1) return `Yesterday, ${time}`;
  const year = at.getFullYear() === now.getFullYear() ? undefined : 'numeric';
  return `${at.toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year })}, ${time}`;
}

/**
 * @param {Date} date
 * @returns {number} ms
 */
function startOfDay(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}
