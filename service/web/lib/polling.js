// What changes while one looks at it.

/** Do it now and again every so many seconds, as long as the page is shown and seen, until `act` answers true.
 *
 * What fails and may pass is tried again.
 */
export async function repeat(secondsBetween, signal, act) {
  while (!signal.aborted) {
    const done = document.hidden ? false : await act().catch((error) => {
      if (!error.passing) throw error;
    });
    if (done === true) return;
    await pause(secondsBetween * 1000);
  }
}

/** A function that calls `act` soon, and then not again for so many milliseconds. */
export function seldom(milliseconds, signal, act) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      if (!signal.aborted) act();
    }, milliseconds());
  };
}

/** A function that calls `act` when it has not been called for so many milliseconds. */
export function later(milliseconds, act) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  };
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
