/* The streaming API guide: typed data, each chunk by itself. */

import { messages } from './reading.js';

export const path = '/api/chat?stream=true&includeTokens=true';

export function request(base, session, message) {
  return {
    url: base + path,
    headers: {},
    body: { message, chatInstanceId: session, chatModelId: 'demo' },
  };
}

/** The same of recorded speech. */
export function voice(base, session, recording) {
  const body = new FormData();
  body.append('audio', recording, 'speech.wav');
  body.append('chatInstanceId', session);
  body.append('chatModelId', 'demo');
  body.append('stream', 'true');
  return { url: `${base}/api/chat/voice`, headers: {}, body };
}

/** Whether the stream came to its end. */
export async function read(body, answer) {
  for await (const message of messages(body)) {
    EVENTS[message.type]?.(answer, message);
    if (message.type === 'stream_end') return true;
  }
  return false;
}

const EVENTS = {
  transcription: (answer, { text }) => answer.heard(text),
  stream_start: (answer) => answer.started(),
  thinking: (answer, { content }) => answer.thinking(content),
  tool_call: (answer, { toolCallId, toolName }) => answer.tool(toolCallId, toolName),
  tool_result: (answer, { toolCallId, error }) => answer.toolEnded(toolCallId, { error }),
  token: (answer, { content }) => answer.text(content),
  agent_response(answer, { content, suggestedQuestions, outputTokens, durationMs, finishReason }) {
    answer.suggestions(suggestedQuestions);
    answer.completed({ text: content, tokens: outputTokens, durationMs, finishReason });
  },
  message_saved: (answer) => answer.saved(),
  error: (answer, { code, message, retryable }) => answer.failed({ code, message, retryable }),
};
