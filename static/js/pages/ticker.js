// Calls something at a steady rate, also while the tab is hidden, where requestAnimationFrame stands still.

/**
 * @param {number} perSecond
 * @param {() => void} act one call is left out when the one before it took too long
 * @returns {() => void} stops it
 */
export function tick(perSecond, act) {
  const everyMs = 1000 / perSecond;
  let last = -everyMs;
  const run = () => {
    const now = performance.now();
    // What piled up behind a long task is worth one picture, not many.
    if (now - last < everyMs / 2) return;
    last = now;
    act();
  };
  const worker = startWorker();
  if (!worker) {
    const timer = setInterval(run, everyMs);
    return () => clearInterval(timer);
  }
  worker.addEventListener('message', run);
  worker.postMessage({ everyMs });
  return () => worker.terminate();
}

/** @returns {Worker | null} */
function startWorker() {
  try {
    return new Worker('/static/js/pages/ticker_worker.js');
  } catch {
    return null;
  }
}
