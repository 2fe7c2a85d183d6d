// A clock in a worker: browsers slow the timers of a page that is out of sight, but not those of its workers.

/** @type {ReturnType<typeof setInterval> | undefined} */
let timer;

self.addEventListener('message', ({ data }) => {
  clearInterval(timer);
  if (data.everyMs > 0) timer = setInterval(() => self.postMessage(null), data.everyMs);
});
