/* One row of the conversation as DOM: a question, an answer, a note.
 *
 * The markup is in index.html's templates. Whatever others wrote goes in as text
 * (`textContent`, a text node), never as markup.
 */

import { runningTool, stateOf } from './turns.js';

/** What a user is told instead of the message meant for programs. */
const REASONS = {
  no_worker: 'No agent is available right now.',
  rate_limited: 'Too many messages at once. Wait a moment.',
  too_large: 'This message is too long to send.',
  publisher_lost: 'The agent was lost before it finished.',
  turn_stalled: 'The agent stopped answering.',
  agent_unresponsive: 'The agent did not respond.',
  voice_unavailable: 'This agent cannot listen: its voice extra is not installed.',
  nothing_heard: 'No words were heard. Speak up, and try again.',
};

const ENDINGS = { cancelled: 'Stopped', length: 'Cut short', error: 'Ended early' };

export function reasonOf({ code, message }) {
  return REASONS[code] ?? message;
}

/** The view of a row: `{ element, draw(row, conversation) }`. */
export function createRow(row) {
  return new { user: UserRow, turn: TurnRow, note: NoteRow }[row.kind](row);
}

class Row {
  constructor(row) {
    this.element = clone(`${row.kind}-template`);
    this.element.dataset.id = row.id;
  }

  part(name) {
    return this.element.querySelector(`.${name}`);
  }

  drawProblem(problem, retry) {
    const box = this.part('problem');
    box.hidden = problem === null;
    if (problem === null) return;
    box.dataset.code = problem.code;
    box.title = `${problem.code}: ${problem.message}`;
    box.querySelector('.reason').textContent = reasonOf(problem);
    const button = box.querySelector('.retry');
    if (button !== null) button.hidden = !retry;
  }
}

class UserRow extends Row {
  draw(row, conversation) {
    setData(this.element, 'state', row.state);
    setData(this.element, 'spoken', row.spoken ? '' : undefined);
    setText(this.part('words'), row.text);
    setText(this.part('caption'), { sending: 'Sending…', sent: 'Waiting for an agent…' }[row.state]);
    this.drawProblem(row.problem, conversation.retryOf(row) !== undefined);
  }
}

class NoteRow extends Row {
  draw(row) {
    this.drawProblem(row.problem, false);
  }
}

class TurnRow extends Row {
  #node = document.createTextNode('');
  #pieces = null;
  #drawn = 0;
  #thinkingTouched = false;

  constructor(row) {
    super(row);
    this.part('text').append(this.#node);
    this.part('thinking').firstElementChild.addEventListener('click', () => {
      this.#thinkingTouched = true;
    });
  }

  draw(turn, conversation) {
    const state = stateOf(turn);
    this.#drawText(turn);
    setData(this.element, 'state', state);
    setData(this.element, 'stopping', turn.stopping ? '' : undefined);
    setData(this.element, 'gap', turn.gap ? '' : undefined);
    setData(this.element, 'hasText', this.#node.length > 0 ? '' : undefined);
    setData(this.part('text'), 'writing', state === 'text' && !turn.textEnded && !turn.stopping ? '' : undefined);
    this.part('gap').hidden = !turn.gap;
    this.#drawReplyTo(conversation.replyTo(turn));
    this.#drawThinking(turn);
    this.#drawTools(turn);
    this.#drawProgress(turn.progress);
    this.drawProblem(turn.problem, conversation.retryOf(turn) !== undefined);
    this.#drawEnd(turn);
  }

  /** Only what is new goes into the one text node: the rest of it is not touched. */
  #drawText({ pieces }) {
    if (pieces !== this.#pieces) {
      const text = pieces.join('');
      // Mostly turnCompleted says what is already there: then a reader's selection stays.
      if (this.#node.data !== text) this.#node.data = text;
      this.#pieces = pieces;
    } else if (pieces.length > this.#drawn) {
      this.#node.appendData(pieces.slice(this.#drawn).join(''));
    }
    this.#drawn = pieces.length;
    this.part('text').hidden = this.#node.length === 0;
  }

  #drawReplyTo(question) {
    this.part('reply-to').hidden = question === undefined;
    setText(this.part('reply-to').lastElementChild, question?.text);
  }

  /** Thoughts are open while there is nothing else to read, unless the reader decided. */
  #drawThinking({ thinking, ended }) {
    const details = this.part('thinking');
    details.hidden = thinking === '';
    setText(details.lastElementChild, thinking);
    if (!this.#thinkingTouched) details.open = this.#node.length === 0 && !ended;
  }

  #drawTools(turn) {
    const list = this.part('tools');
    const used = turn.tools.filter(({ state }) => state !== 'running');
    list.hidden = used.length === 0;
    while (list.children.length > used.length) list.lastElementChild.remove();
    while (list.children.length < used.length) list.append(clone('used-tool-template'));
    for (const [at, { name, state, durationMs }] of used.entries()) {
      const item = list.children[at];
      if (item.dataset.state === state && item.title === name) continue;
      setData(item, 'state', state);
      item.title = name;
      setIcon(item, state === 'done' ? 'check' : 'alert');
      setText(item.querySelector('.tool-name'), name);
      setText(item.querySelector('.took'), durationMs === undefined ? '' : duration(durationMs));
    }
    const running = runningTool(turn);
    if (running !== undefined) setText(this.part('tool').lastElementChild, `${running.name}…`);
  }

  #drawProgress(progress) {
    const bar = this.part('activity').querySelector('progress');
    bar.hidden = progress === null;
    setData(this.part('activity'), 'progress', progress === null ? undefined : '');
    setText(this.part('progress-message'), progress?.message);
    if (progress !== null) bar.value = progress.percent;
  }

  #drawEnd(turn) {
    if (!turn.ended) setData(this.part('copy'), 'state', undefined);
    for (const button of this.element.querySelectorAll('.feedback')) {
      button.setAttribute('aria-pressed', `${turn.feedback === button.dataset.feedback}`);
    }
    setText(this.part('meta'), meta(turn));
    const chips = this.part('suggestions');
    chips.hidden = turn.suggestions.length === 0;
    if (chips.children.length === turn.suggestions.length) return;
    chips.replaceChildren(...turn.suggestions.map((question) => {
      const chip = document.createElement('button');
      Object.assign(chip, { type: 'button', className: 'suggestion', textContent: question });
      chip.dataset.ask = question;
      return chip;
    }));
  }
}

function meta({ usage, finishReason, saved }) {
  if (usage === null) return '';
  const count = usage.outputTokens;
  const tokens = count > 0 && `${count.toLocaleString()} ${count === 1 ? 'token' : 'tokens'}`;
  const parts = [ENDINGS[finishReason], duration(usage.durationMs), tokens, saved && 'saved'];
  return parts.filter(Boolean).join(' · ');
}

function duration(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function clone(template) {
  return document.getElementById(template).content.firstElementChild.cloneNode(true);
}

// A row is drawn at every frame while its text grows: what did not change is not set.

function setText(element, text = '') {
  if (element.textContent !== text) element.textContent = text;
}

function setData(element, name, value) {
  if (element.dataset[name] === value) return;
  if (value === undefined) delete element.dataset[name];
  else element.dataset[name] = value;
}

function setIcon(element, name) {
  element.querySelector('use').setAttribute('href', `#icon-${name}`);
}
