/* The parts of the wire protocol that need no connection (docs/protocol.md). */

export const SUBPROTOCOL = 'edgestream.v1.json';

/** Close codes of the WebSocket standard that say that trying again cannot help. */
const HOPELESS = new Set([1002, 1003, 1007, 1008, 1009, 1010]);

/** What the broker answered to one operation, or why an operation was given up. */
export class EdgeStreamError extends Error {
  constructor({ code, message, retryable = false, detail }) {
    super(message);
    this.name = 'EdgeStreamError';
    this.code = code;
    this.retryable = retryable;
    this.detail = detail;
  }
}

/** A UUID. `crypto.randomUUID` is missing on plain http pages, `getRandomValues` is not. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** Whether a topic is covered by a pattern: `*` is one level, a final `>` one or more. */
export function matches(pattern, topic) {
  const wanted = pattern.split('.');
  const levels = topic.split('.');
  for (const [at, level] of wanted.entries()) {
    if (level === '>') return levels.length > at;
    if (at >= levels.length || (level !== '*' && level !== levels[at])) return false;
  }
  return wanted.length === levels.length;
}

/** Whether to come back after a close. 4000–4099: stay away; anything unknown: come back. */
export function mayReturn(code) {
  return !HOPELESS.has(code) && !(code >= 4000 && code < 4100);
}
