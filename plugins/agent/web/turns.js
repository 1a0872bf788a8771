/* What a chat shows, as a fold of its session's events (docs/agent-messages.md).
 *
 * No DOM, no clock, no network: events go in, rows come out. Every event may come
 * again (a replay, a reconnect), and a turn may come in another form than at first
 * (its tokens merged, or its whole text at once): the rows end up the same.
 * Which event changes what is in fold.js.
 */

import { FOLD, end, freshTurn } from './fold.js';

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
 * @property {boolean=} spoken   it was said aloud: `text` is what was heard, once it is known
 * @property {?Problem} problem
 * @property {boolean} placed  whether its place in the stream's order is known
 *
 * @typedef {object} TurnRow   an agent's answer
 * @property {'turn'} kind
 * @property {string} id       its turnId
 * @property {string[]} pieces the text so far; a new array when it was not only added to
 * @property {boolean} stopping somebody asked to stop it, and it has not ended yet
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
    this.#missed = new Set(this.openTurns());
  }

  /** What the state did not name, the broker no longer has: it would never end. */
  endResync() {
    for (const turn of this.#missed) end(this, turn, { problem: LOST });
    this.#missed.clear();
  }

  /** Whether the broker may know more than was told: nothing was, or an answer's middle. */
  isPartial() {
    const known = this.rows.some((row) => row.placed);
    return !known || this.openTurns().some((turn) => turn.agentId === '');
  }

  /** The question to ask again for a row that failed; none if that was done already. */
  retryOf(row) {
    if (row.problem === null) return undefined;
    const question = row.kind === 'user' ? row : this.find('user', row.messageId);
    if (question === undefined || question.state === 'failed') return question;
    if (!row.problem.retryable) return undefined;
    const later = this.rows.slice(this.rows.indexOf(row) + 1);
    return later.some(({ kind, text }) => kind === 'user' && text === question.text)
      ? undefined : question;
  }

  /** The answers that are being written. */
  openTurns() {
    return this.rows.filter((row) => row.kind === 'turn' && !row.ended);
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
    if (row.kind === 'user') this.#reconsider();
    return row;
  }

  /** A question may be one that is asked again: then what failed offers that no more. */
  #reconsider() {
    for (const row of this.rows) if (row.problem) this.changed.add(row);
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
