// Keyboard shortcuts: single keys, while nothing is being typed and no dialog is open.

/**
 * Listens for single keys.
 *
 * @param {Record<string, () => void>} acts by lower-case key
 * @param {() => boolean} enabled
 * @param {AbortSignal} signal ends it
 */
export function listenForKeys(acts, enabled, signal) {
  document.addEventListener(
    'keydown',
    (event) => {
      const act = acts[event.key.toLowerCase()];
      if (!act || !enabled() || event.repeat || isMeantElsewhere(event)) return;
      event.preventDefault();
      act();
    },
    { signal },
  );
}

/**
 * @param {KeyboardEvent} event
 * @returns {boolean}
 */
function isMeantElsewhere(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return true;
  if (document.querySelector('dialog[open]')) return true;
  const { target } = event;
  return target instanceof HTMLElement && target.matches('input:not([type=checkbox]), textarea, select, [contenteditable]');
}
