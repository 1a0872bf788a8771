/* Strakly: data of one key each, in a buffer, by lines. It is told its conversation's name. */

import { lines } from './reading.js';

let conversation;

export const path = '/chat';

export function request(base, session, message) {
  return {
    url: base + path,
    headers: { Accept: 'text/event-stream' },
    body: { message, conversation_id: conversation },
  };
}

/** Whether the stream came to its end. */
export async function read(body, answer) {
  for await (const line of lines(body)) {
    if (!line.startsWith('data: ')) continue;
    const data = line.slice(6);
    if (data === '[DONE]') {
      answer.completed({});
      return true;
    }
    for (const [key, value] of Object.entries(JSON.parse(data))) KEYS[key]?.(answer, value);
  }
  return false;
}

const KEYS = {
  conversation_id(answer, id) {
    conversation = id;
    answer.started();
  },
  tools_used(answer, names) {
    answer.toolsEnded();
    for (const name of names) answer.toolNamed(name);
  },
  token(answer, text) {
    answer.toolsEnded();
    answer.text(text);
  },
  action: (answer, action) => answer.action(action),
  suggested_questions: (answer, questions) => answer.suggestions(questions),
};
