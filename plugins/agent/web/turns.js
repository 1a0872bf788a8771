/* What a chat shows, as a fold of its session's events (docs/agent-messages.md).
 *
 * No DOM, no clock, no network: events go in, rows come out. Every event may come
 * again (a replay, a reconnect), and a turn may come in another form than at first
 * (its tokens merged, or its whole text at once): the rows end up the same.
 */

/**
 * @typedef {object} Problem   why something failed
 * @property {string} code
 * @property {string} message
 * @property {boolean} retryable
 *
 * @typedef {object} UserRow   a question
 * @property {'user'} kind
 * @property {string} id       its messageId
 * @property {string} text
 * @property {'sending'|'sent'|'answered'|'failed'|'unanswered'} state
 *   failed: the broker refused it. unanswered: it was accepted, but no agent took it up.
 * @property {?Problem} problem
 * @property {boolean} placed  whether its place in the stream's order is known
 *
 * @typedef {object} TurnRow   an agent's answer
 * @property {'turn'} kind
 * @property {string} id       its turnId
 * @property {string[]} pieces the text so far; a new array when it was not only added to
 * @property {boolean} gap     some of the text is missing until the turn is completed
 * @property {{id: string, name: string, state: 'running'|'done'|'failed', durationMs?: number}[]} tools
 *
 * @typedef {object} NoteRow   an error that belongs to no turn and no question
 * @property {'note'} kind
 * @property {string} id
 * @property {Problem} problem
 */

export class Conversation {
  /** In the order in which they are shown. */
  rows = [];
  /** The rows that changed since the view last looked; the view empties it. */
  changed = new Set();
  #byName = new Map();
  #missed = new Set();

  /** Take in one event of the session. */
  apply({ topic, body, time }) {
    FOLD[topic.slice(topic.lastIndexOf('.') + 1)]?.(this, body, time);
  }

  /** A question that this page is about to send. It stays last until the broker places it. */
  ask(messageId, text) {
    const row = this.find('user', messageId) ?? this.#add(newQuestion(messageId, text));
    Object.assign(row, { state: 'sending', problem: null, placed: false });
    this.#move(row, this.rows.length);
    return row;
  }

  /** The broker accepted a question. */
  accepted(messageId) {
    const row = this.find('user', messageId);
    if (row?.state === 'sending') this.touch(row, { state: 'sent' });
  }

  /** The broker refused a question. It stays where it is, for its sender to see. */
  refused(messageId, { code, message, retryable }) {
    const row = this.find('user', messageId);
    if (row === undefined) return;
    this.touch(row, { state: 'failed', placed: true, problem: { code, message, retryable } });
  }

  /** Steps were lost, and the state follows anew: which open turns will it still name? */
  beginResync() {
    this.#missed = new Set(this.rows.filter((row) => row.kind === 'turn' && !row.ended));
  }

  /** What the state did not name, the broker no longer has: it would never end. */
  endResync() {
    for (const turn of this.#missed) end(this, turn, { problem: LOST });
    this.#missed.clear();
  }

  find(kind, id) {
    return this.#byName.get(`${kind}:${id}`);
  }

  touch(row, changes) {
    Object.assign(row, changes);
    this.changed.add(row);
    return row;
  }

  question(messageId, text) {
    const row = this.find('user', messageId) ?? this.#add(newQuestion(messageId, text));
    if (!row.placed) {
      this.#move(row, this.#end());
      row.placed = true;
    }
    if (row.state === 'sending' || row.state === 'failed') row.state = 'sent';
    return this.touch(row, { text });
  }

  /** The turn that an event is about, also where its beginning was never seen. */
  turn(body) {
    return this.find('turn', body.turnId) ?? this.#add(newTurn(body.turnId));
  }

  note(id, problem) {
    if (this.find('note', id) === undefined) this.#add({ kind: 'note', id, problem, placed: true });
  }

  seen(turn) {
    this.#missed.delete(turn);
  }

  /** The question before `turn` that it does not simply follow, or undefined. */
  replyTo(turn) {
    const before = this.rows.slice(0, this.rows.indexOf(turn));
    const asked = this.find('user', turn.messageId);
    return before.findLast((row) => row.kind === 'user') === asked ? undefined : asked;
  }

  #add(row) {
    this.#byName.set(`${row.kind}:${row.id}`, row);
    this.rows.splice(row.placed ? this.#end() : this.rows.length, 0, row);
    this.changed.add(row);
    return row;
  }

  #move(row, to) {
    const from = this.rows.indexOf(row);
    this.rows.splice(from, 1);
    this.rows.splice(from < to ? to - 1 : to, 0, row);
    this.touch(row);
  }

  /** Where the stream's order ends: own questions without a place yet stay behind it. */
  #end() {
    let end = this.rows.length;
    while (end > 0 && !this.rows[end - 1].placed) end -= 1;
    return end;
  }
}

/** What the widget shows for a turn: 'dots', 'tool', 'text', 'done' or 'error'. */
export function stateOf(turn) {
  if (turn.ended) return turn.problem === null ? 'done' : 'error';
  if (runningTool(turn) !== undefined) return 'tool';
  return turn.waiting ? 'dots' : 'text';
}

/** The tool call that began last and still runs. */
export function runningTool(turn) {
  return turn.tools.findLast((tool) => tool.state === 'running');
}

export function textOf(turn) {
  return turn.pieces.join('');
}

const LOST = {
  code: 'turn_lost',
  message: 'This answer was interrupted, and the server no longer has it.',
  retryable: true,
};

function newQuestion(id, text) {
  return { kind: 'user', id, text, state: 'sending', problem: null, placed: false };
}

function newTurn(id) {
  const turn = { kind: 'turn', id, agentId: '', messageId: undefined, placed: true };
  return Object.assign(turn, freshTurn());
}

/** A turn at its beginning; also what turnStarted sets a known one back to. */
function freshTurn() {
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
    ended: false,
    finishReason: 'stop',
    problem: null,
    usage: null,
  };
}

function end(chat, turn, changes) {
  const tools = turn.tools.map((tool) => (
    tool.state === 'running' ? { ...tool, state: changes.problem ? 'failed' : 'done' } : tool
  ));
  chat.touch(turn, { ended: true, waiting: false, progress: null, tools, ...changes });
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
const FOLD = {
  userMessage(chat, { messageId, text }) {
    chat.question(messageId, text);
  },

  userAudio(chat, { messageId }) {
    chat.question(messageId, 'Voice message');
  },

  transcription(chat, { messageId, text }) {
    chat.question(messageId, text);
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

  suggestions(chat, body) {
    chat.touch(chat.turn(body), { suggestions: body.questions });
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
      end(chat, turn, { problem });
    } else if (asked !== undefined) {
      chat.touch(asked, { state: 'unanswered', problem });
    } else {
      chat.note(`${time}`, problem);
    }
  },
};
