/* One answer of a conversation, as a front end reads it: whatever a dialect can say.
 *
 * The chat page's own events stand behind it (../fold.js), so that all pages show answers
 * alike. The turn has its question's name, since not every dialect has one for it.
 */

import { act } from '../actions.js';

/** Of a dialect that has no error event, this is how an error looks. */
const NOTHING = { code: 'no_answer', message: 'No answer came.', retryable: true };

export class Answer {
  #conversation;
  #onChange;
  #id;
  #index = 0;
  #calls = 0;
  #began = performance.now();
  #pieces = [];
  #begun = false;
  #ended = false;
  #running = new Map(); // calls that the dialect has no ids for, by the tool's name
  /** Why it failed, if it did. */
  problem = null;

  /** @param {() => void} onChange called when there is something new to show */
  constructor(conversation, messageId, onChange) {
    this.#conversation = conversation;
    this.#id = messageId;
    this.#onChange = onChange;
  }

  get isOpen() {
    return !this.#ended;
  }

  get wholeText() {
    return this.#pieces.join('');
  }

  /** It begins, or again: then from its beginning. */
  started() {
    this.#index = 0;
    this.#pieces = [];
    this.#running.clear();
    this.#begun = true;
    this.#say('turnStarted', { agentId: '', messageId: this.#id });
  }

  /** What was heard of recorded speech. */
  heard(text) {
    this.#say('transcription', { messageId: this.#id, text });
  }

  text(token, tokenCount = 1) {
    this.#pieces.push(token);
    this.#say('token', { token, tokenIndex: this.#index, tokenCount, isLast: false });
    this.#index += tokenCount;
  }

  thinking(text) {
    this.#say('thinking', { text });
  }

  tool(toolCallId, toolName) {
    this.#say('toolCallStarted', { toolCallId, toolName });
  }

  toolEnded(toolCallId, { error, durationMs }) {
    this.#say('toolCallCompleted', { toolCallId, error, durationMs });
  }

  /** A call that the dialect has no id for. */
  toolNamed(toolName) {
    this.toolNamedEnded(toolName, {});
    this.#calls += 1;
    const id = `${toolName}:${this.#calls}`;
    this.#running.set(toolName, id);
    this.tool(id, toolName);
  }

  toolNamedEnded(toolName, { error }) {
    const id = this.#running.get(toolName);
    if (id === undefined) return;
    this.#running.delete(toolName);
    this.toolEnded(id, { error });
  }

  /** The dialect only tells that a tool is called: whatever follows shows that it has ended. */
  toolsEnded() {
    for (const name of [...this.#running.keys()]) this.toolNamedEnded(name, {});
  }

  progress(percent, message) {
    this.#say('progress', { percent, message });
  }

  action(action) {
    act(action);
  }

  suggestions(questions) {
    this.#say('suggestions', { questions });
  }

  saved() {
    this.#say('messageSaved', {});
  }

  /** Its good end; what the dialect does not tell of it is known here. */
  completed({ text = this.wholeText, tokens = 0, durationMs = this.#lasted(), finishReason }) {
    if (text === '') this.failed(NOTHING);
    else this.#end(text, tokens, durationMs, finishReason);
  }

  failed(problem) {
    if (this.#ended) return;
    this.#ended = true;
    this.problem = problem;
    const turn = this.#begun ? {} : { turnId: undefined }; // then it is the question that failed
    this.#say('error', { ...turn, messageId: this.#id, ...problem });
  }

  /** The reader has had enough. */
  stopped() {
    this.#end(this.wholeText, 0, this.#lasted(), 'cancelled');
  }

  #end(fullText, outputTokens, durationMs, finishReason) {
    if (this.#ended) return;
    this.#ended = true;
    const counts = { inputTokens: 0, outputTokens, durationMs };
    this.#say('turnCompleted', { fullText, finishReason, ...counts });
  }

  #lasted() {
    return performance.now() - this.#began;
  }

  #say(event, body) {
    this.#conversation.apply({ topic: `agent.chat.${event}`, body: { turnId: this.#id, ...body } });
    this.#onChange();
  }
}
