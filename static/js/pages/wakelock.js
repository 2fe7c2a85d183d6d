// Keeps the screen on while a page needs it, during a call or a recording, where the browser can.

/**
 * Asks for it now, and again whenever the page comes back into view (browsers take it away when it is hidden).
 *
 * @returns {() => void} lets the screen sleep again
 */
export function keepAwake() {
  const stop = new AbortController();
  /** @type {WakeLockSentinel | null} */
  let held = null;
  const ask = async () => {
    if (document.visibilityState !== 'visible' || !('wakeLock' in navigator)) return;
    try {
      held = await navigator.wakeLock.request('screen');
      if (stop.signal.aborted) await held.release();
    } catch {
      // Refused, for instance to save the battery: the page goes on all the same.
    }
  };
  document.addEventListener('visibilitychange', () => void ask(), { signal: stop.signal });
  void ask();
  return () => {
    stop.abort();
    void held?.release();
  };
}
