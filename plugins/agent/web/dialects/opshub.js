/* OpsHub: typed data, each chunk by itself; batches, retries, and a watch on silence. */

import { messages } from './reading.js';

const BATCH = 5; // tokens
const BATCH_MS = 50;
const SILENCE_MS = 30_000;

export const path = '/api/chat';

/** Waits before the same message is posted again, when a stream broke off. */
export const retries = [1_000, 2_000, 4_000];

export function request(base, session, message) {
  return { url: base + path, headers: {}, body: { message, sessionId: session } };
}

/** Whether the stream came to its end. A retry is told its turn from the beginning. */
export async function read(body, answer) {
  answer.started();
  const batch = new Batch(answer);
  for await (const message of messages(body, SILENCE_MS)) {
    if (message.type === 'text_delta') {
      batch.add(message.content);
      continue;
    }
    batch.flush();
    EVENTS[message.type]?.(answer, message);
    if (message.type === 'done' || message.type === 'error') return true;
  }
  batch.flush();
  return false;
}

const EVENTS = {
  progress: (answer, { percent, message }) => answer.progress(percent, message),
  tool_start: (answer, { tool }) => answer.toolNamed(tool),
  tool_result: (answer, { tool, result }) => answer.toolNamedEnded(tool, { error: result?.error }),
  done: (answer, { finalMessage }) => answer.completed({ text: finalMessage }),
  error: (answer, { message }) => answer.failed({ code: 'error', message, retryable: true }),
};

/** Shows text five tokens at a time, or what came within 50 ms. */
class Batch {
  #answer;
  #texts = [];
  #timer = 0;

  constructor(answer) {
    this.#answer = answer;
  }

  add(text) {
    this.#texts.push(text);
    if (this.#texts.length === BATCH) this.flush();
    else if (this.#texts.length === 1) this.#timer = setTimeout(() => this.flush(), BATCH_MS);
  }

  flush() {
    clearTimeout(this.#timer);
    if (this.#texts.length > 0) this.#answer.text(this.#texts.join(''), this.#texts.length);
    this.#texts = [];
  }
}
