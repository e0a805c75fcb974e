// Timers: polling, throttle, debounce.

/** Run `refresh` now and every `intervalSeconds` while the tab is visible, until it returns true or `signal` aborts.
 *
 * Retryable errors are retried at the next interval; others are thrown.
 */
export async function poll(intervalSeconds, signal, refresh) {
  while (!signal.aborted) {
    const done = document.hidden ? false : await refresh().catch((error) => {
      if (!error.retryable) throw error;
    });
    if (done === true) return;
    await sleep(intervalSeconds * 1000);
  }
}

/** Throttle: calls collapse into one run of `callback`, `interval()` milliseconds after the first of them. */
export function throttle(interval, signal, callback) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      if (!signal.aborted) callback();
    }, interval());
  };
}

/** Debounce: `callback` runs once there has been no call for so many milliseconds. */
export function debounce(milliseconds, callback) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(callback, milliseconds);
  };
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
