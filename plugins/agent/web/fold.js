/* What each event of a session changes in its conversation (turns.js). */

/** A turn at its beginning; also what turnStarted sets a known one back to. */
export function freshTurn() {
  return {
    pieces: [],
    nextIndex: 0,
    waiting: true, // for text: nothing came yet, or a tool call came after it
    textEnded: false,
    gap: false,
    tools: [],
    thinking: '',
    progress: null,
    suggestions: [],
    stopping: false, // somebody asked to stop it
    ended: false,
    finishReason: 'stop',
    problem: null,
    usage: null,
    saved: false, // its agent has stored it
  };
}

export function end(chat, turn, changes) {
  const tools = turn.tools.map((tool) => (
    tool.state === 'running' ? { ...tool, state: changes.problem ? 'failed' : 'done' } : tool
  ));
  const over = { ended: true, stopping: false, waiting: false, progress: null };
  chat.touch(turn, { ...over, tools, ...changes });
}

/** A turn's text, token by token. An event stands for `tokenCount` tokens from `tokenIndex` on. */
function addTokens(turn, { token, tokenIndex, tokenCount = 1, isLast }) {
  const next = tokenIndex + tokenCount;
  if (tokenIndex === 0) {
    Object.assign(turn, { pieces: [token], gap: false, textEnded: false });
  } else if (tokenIndex === turn.nextIndex) {
    turn.pieces.push(token);
  } else if (next <= turn.nextIndex) {
    return; // a repeat
  } else {
    // Some are missing, or it overlaps with what is here by an unknown number of
    // characters. Show what is sure; turnCompleted brings the whole text.
    turn.gap = true;
    if (tokenIndex > turn.nextIndex) turn.pieces.push('…', token);
  }
  turn.nextIndex = next;
  if (token !== '') turn.waiting = false;
  if (isLast) Object.assign(turn, { textEnded: true, waiting: false });
}

/** Events of a turn that has ended are late repeats: only turnStarted opens it again. */
function whileOpen(change) {
  return (chat, body) => {
    const turn = chat.turn(body);
    chat.seen(turn);
    if (turn.ended) return;
    change(turn, body);
    chat.touch(turn);
  };
}

/** One entry for each `agent.chat.…` topic that shows. */
export const FOLD = {
  userMessage(chat, { messageId, text }) {
    chat.question(messageId, text);
  },

  userAudio(chat, { messageId }) {
    chat.touch(chat.question(messageId, 'Voice message'), { spoken: true });
  },

  transcription(chat, { messageId, text }) {
    chat.touch(chat.question(messageId, text), { spoken: true });
  },

  turnStarted(chat, { turnId, agentId, messageId }) {
    const turn = chat.touch(chat.turn({ turnId }), { agentId, messageId, ...freshTurn() });
    chat.seen(turn);
    const asked = chat.find('user', messageId);
    if (asked !== undefined) chat.touch(asked, { state: 'answered', problem: null });
  },

  token: whileOpen(addTokens),

  thinking: whileOpen((turn, { text }) => {
    turn.thinking += text;
  }),

  toolCallStarted: whileOpen((turn, { toolCallId, toolName }) => {
    if (turn.tools.some(({ id }) => id === toolCallId)) return;
    turn.tools.push({ id: toolCallId, name: toolName, state: 'running' });
    turn.waiting = true;
  }),

  toolCallCompleted: whileOpen((turn, { toolCallId, toolName = 'tool', error, durationMs }) => {
    let tool = turn.tools.find(({ id }) => id === toolCallId);
    if (tool === undefined) turn.tools.push((tool = { id: toolCallId, name: toolName }));
    Object.assign(tool, { state: error === undefined ? 'done' : 'failed', durationMs });
    turn.waiting = !turn.textEnded;
  }),

  progress: whileOpen((turn, { percent, message }) => {
    turn.progress = { percent, message };
  }),

  cancel(chat, { turnId }) {
    const turn = chat.find('turn', turnId);
    if (turn !== undefined && !turn.ended) chat.touch(turn, { stopping: true });
  },

  suggestions(chat, body) {
    chat.touch(chat.turn(body), { suggestions: body.questions });
  },

  messageSaved(chat, { turnId }) {
    const turn = chat.find('turn', turnId);
    if (turn !== undefined) chat.touch(turn, { saved: true });
  },

  turnCompleted(chat, body) {
    const { fullText, finishReason = 'stop', inputTokens, outputTokens, durationMs } = body;
    const turn = chat.turn(body);
    chat.seen(turn);
    const usage = { inputTokens, outputTokens, durationMs };
    end(chat, turn, { pieces: [fullText], gap: false, problem: null, finishReason, usage });
  },

  error(chat, { turnId, messageId, code, message, retryable }, time) {
    const problem = { code, message, retryable };
    const asked = chat.find('user', messageId);
    if (turnId !== undefined) {
      const turn = chat.turn({ turnId });
      chat.seen(turn);
      end(chat, turn, { problem, messageId: turn.messageId ?? messageId });
    } else if (asked !== undefined) {
      chat.touch(asked, { state: 'unanswered', problem });
    } else {
      chat.note(`${time}`, problem);
    }
  },
};
