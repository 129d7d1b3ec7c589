// @ts-check
/** A job that reports progress through a callback, as an async iterator. */

/**
 * Yields each text that the job reports and returns the job's result. Leaving the loop early
 * cancels the job.
 * @template T
 * @param {(options: { signal: AbortSignal, onToken: (text: string) => void }) => Promise<T>} start
 * @param {{ signal?: AbortSignal, onToken?: (text: string) => void }} options the caller's
 * @returns {AsyncGenerator<string, T, void>}
 */
export async function* streamed(start, { signal, onToken }) {
  const own = new AbortController();
  const abort = () => own.abort(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });

  /** @type {string[]} */
  const texts = [];
  let isDone = false;
  let wake = () => {};
  const push = (/** @type {string} */ text) => {
    onToken?.(text);
    texts.push(text);
    wake();
  };
  const finish = () => {
    isDone = true;
    wake();
  };
  const job = start({ signal: own.signal, onToken: push });
  job.then(finish, finish);
  try {
    while (!isDone || texts.length > 0) {
      const text = texts.shift();
      if (text !== undefined) yield text;
      else await new Promise((/** @type {(_: void) => void} */ resolve) => (wake = resolve));
    }
    return await job;
  } finally {
    own.abort();
    signal?.removeEventListener('abort', abort);
  }
}
