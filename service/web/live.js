// What changes while one looks at it.

/** Do it now and again every so many seconds, as long as the page is shown and seen; a failure is tried again. */
export async function repeat(secondsBetween, signal, act) {
  await act();
  while (!signal.aborted) {
    await pause(secondsBetween * 1000);
    if (document.hidden || signal.aborted) continue;
    await act().catch((error) => {
      if (error.status && error.status < 500 && error.status !== 429) throw error;
    });
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
