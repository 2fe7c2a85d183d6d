/**
 * The page's end of the worker that writes files (`files.js`): questions and their answers.
 * @module
 */

/** A worker that has not said it works by then does not. Unit: ms. */
const START_MS = 5_000;

/** @typedef {(act: string, ...args: unknown[]) => Promise<any>} Ask */

/** @returns {Promise<Ask>} rejected where it cannot run or cannot write */
export async function openWorker() {
  const worker = startWorker(new URL('./files.js', import.meta.url));
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  const open = new Map();
  let last = 0;
  const fail = (/** @type {Error} */ error) => {
    for (const { reject } of open.values()) reject(error);
    open.clear();
  };
  worker.onmessage = ({ data: { id, value, error } }) => {
    const asked = open.get(id);
    open.delete(id);
    if (error) asked?.reject(new DOMException(error.message, error.name));
    else asked?.resolve(value);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    fail(new Error(event.message || 'the worker could not run'));
  };
  const ask = (/** @type {string} */ act, /** @type {unknown[]} */ ...args) => new Promise((resolve, reject) => {
    open.set(++last, { resolve, reject });
    worker.postMessage({ id: last, act, args });
  });
  const timer = setTimeout(() => fail(new Error('the worker did not start')), START_MS);
  try {
    await ask('check');
    return ask;
  } catch (error) {
    worker.terminate();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A page of another origin may import this library, but not run a worker from its address; a worker of the page's own
 * that imports it is allowed.
 * @param {URL} address
 */
function startWorker(address) {
  if (address.origin === location.origin) return new Worker(address, { type: 'module' });
  const script = URL.createObjectURL(new Blob([`import ${JSON.stringify(address.href)};`], { type: 'text/javascript' }));
  try {
    return new Worker(script, { type: 'module' });
  } finally {
    setTimeout(() => URL.revokeObjectURL(script), START_MS);
  }
}
