/* The two ways in which front ends take a stream of events apart. */

/**
 * Whole lines. What is left of a chunk waits for the next one, also within a letter.
 * @param {ReadableStream<Uint8Array>} body
 * @yields {string}
 */
export async function* lines(body) {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks(body)) {
    const whole = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = whole.pop();
    yield* whole;
  }
}

/**
 * What the `data:` lines of each chunk say, by itself: an event that is split is lost.
 * @param {ReadableStream<Uint8Array>} body
 * @param {number} silence ms after which the stream counts as dead, and ends
 * @yields {object}
 */
export async function* messages(body, silence = 0) {
  for await (const chunk of chunks(body, silence)) {
    for (const line of new TextDecoder().decode(chunk).split('\n')) {
      const message = line.startsWith('data: ') ? parsed(line.slice(6)) : undefined;
      if (message !== undefined) yield message;
    }
  }
}

/** A connection that is lost ends them, too: without the end that the dialect has. */
async function* chunks(body, silence = 0) {
  const reader = body.getReader();
  let timer = 0;
  try {
    for (;;) {
      if (silence > 0) timer = setTimeout(() => reader.cancel(), silence);
      const { done, value } = await reader.read().catch(() => ({ done: true }));
      clearTimeout(timer);
      if (done) return;
      yield value;
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {}); // of a lost one there is nothing to cancel
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
