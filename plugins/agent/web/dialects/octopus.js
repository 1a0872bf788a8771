/* Octopus: named events, in a buffer, by lines. */

import { lines } from './reading.js';

export const path = '/api/chat/{sessionId}/send';

export function request(base, session, message) {
  return {
    url: `${base}/api/chat/${encodeURIComponent(session)}/send`,
    headers: { Accept: 'text/event-stream' },
    body: { message },
  };
}

/** Whether the stream came to its end. */
export async function read(body, answer) {
  let name = '';
  for await (const line of lines(body)) {
    if (line.startsWith('event: ')) name = line.slice(7);
    else if (line.startsWith('data: ')) EVENTS[name]?.(answer, JSON.parse(line.slice(6)));
    if (line === '' && name === 'turn_end') return true;
  }
  return false;
}

const EVENTS = {
  turn_start: (answer) => answer.started(),
  tool_call: (answer, { tool_call_id: id, tool_name: name }) => answer.tool(id, name),
  tool_result(answer, { tool_call_id: id, elapsed_ms: durationMs }) {
    answer.toolEnded(id, { durationMs });
  },
  token: (answer, { text }) => answer.text(text),
  turn_end(answer, { total_tokens: tokens, elapsed_ms: durationMs }) {
    answer.completed({ tokens, durationMs });
  },
};
