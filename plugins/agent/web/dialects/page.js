/* A chat over HTTP: the chat page, with one front end's way to ask and to read. */

import { randomId } from '../protocol.js';
import { reasonOf } from '../rows.js';
import { authorization } from '../token.js';
import { Conversation } from '../turns.js';
import { View, announce } from '../view.js';
import { Answer } from './answer.js';
import * as guide from './guide.js';
import * as octopus from './octopus.js';
import * as opshub from './opshub.js';
import * as strakly from './strakly.js';
import { Voice } from './voice.js';

const DIALECTS = { octopus, guide, opshub, strakly };

const STARTERS = [
  ['Show me all of it', 'Show me everything about a turn'],
  ['Take your time', 'What is 12 * 12? I like progress'],
  ['Change the light', 'Go dark, and tell me what a token is'],
  ['Go wrong', 'Please fail in the middle of it'],
];

const UNHEARD = 'Voice message';

const UNREACHABLE = { code: 'unreachable', message: 'The server cannot be reached.', retryable: true };
const BROKEN = { code: 'broken', message: 'The answer broke off.', retryable: true };

const name = new URL(location.href).searchParams.get('dialect');
const dialect = DIALECTS[name];
const link = document.querySelector(`.ways a[href="?dialect=${CSS.escape(name)}"]`);
const session = randomId();
const conversation = new Conversation();
const running = new Map(); // the AbortController of each answer, by its question
const recordings = new Map(); // of spoken questions, by their names
let view;

if (dialect === undefined || link === null) {
  location.replace('?');
} else {
  dress();
  view = new View(conversation, { ask: (text) => send(randomId(), text), retry, stop });
  if (dialect.voice !== undefined) new Voice((recording) => speak(randomId(), recording));
  view.ready();
}

/** The page as this front end's: its name, where it asks, what it may be asked. */
function dress() {
  document.title = `${link.textContent} · edgestream`;
  document.querySelector('.title h1').textContent = link.textContent;
  document.getElementById('connection').hidden = true;
  const agent = document.getElementById('agent');
  agent.dataset.status = 'none';
  agent.querySelector('.label').textContent = `POST ${link.dataset.base.slice(1)}${dialect.path}`;
  document.querySelector('.bar a').href = `?dialect=${name}`;
  document.querySelector(`.ways a[href="?"]`).removeAttribute('aria-current');
  link.setAttribute('aria-current', 'page');
  for (const [at, starter] of document.querySelectorAll('.starter').entries()) {
    const [bold, question] = STARTERS[at];
    starter.dataset.ask = question;
    starter.querySelector('b').textContent = bold;
    starter.querySelector('span').textContent = question;
  }
}

/** A question that was refused goes out again; one that was answered badly is asked anew. */
function retry(row) {
  const question = conversation.retryOf(row);
  if (question === undefined) return;
  const id = question.state === 'failed' ? question.id : randomId();
  const recording = recordings.get(question.id);
  if (recording === undefined || question.text !== UNHEARD) send(id, question.text);
  else speak(id, recording);
}

/** Until it is known what was heard, the question has no text of its own. */
function speak(messageId, recording) {
  recordings.set(messageId, recording);
  conversation.touch(conversation.ask(messageId, UNHEARD), { spoken: true });
  send(messageId, UNHEARD);
}

/** Whoever stops reads no further; whether the turn goes on is the dialect's to say. */
function stop() {
  for (const abort of running.values()) abort.abort();
}

async function send(messageId, text) {
  const abort = new AbortController();
  running.set(messageId, abort);
  conversation.ask(messageId, text);
  view.schedule();
  view.follow();
  const answer = new Answer(conversation, messageId, () => view.schedule());
  const problem = await converse(text, answer, messageId, abort.signal);
  running.delete(messageId);
  if (abort.signal.aborted) answer.stopped();
  else if (problem !== null) settle(problem, answer, messageId);
  announceEnd(abort.signal.aborted, problem ?? answer.problem, answer.wholeText);
  view.schedule();
}

/** Ask, and read the answer to its end. Why there is none, or null. */
async function converse(text, answer, messageId, signal) {
  let problem = UNREACHABLE;
  for (const wait of [0, ...(dialect.retries ?? [])]) {
    if (wait > 0) await pause(wait, signal);
    if (signal.aborted) return null;
    problem = await once(text, answer, messageId, signal);
    if (problem === null || signal.aborted || !problem.retryable) return problem;
  }
  return problem;
}

async function once(text, answer, messageId, signal) {
  const { url, headers, body } = asking(messageId, text);
  const response = await fetch(url, {
    method: 'POST',
    headers: { ...authorization, ...headers },
    body,
    signal,
  }).catch(() => null);
  if (response === null) return UNREACHABLE;
  if (!response.ok) return refusal(response);
  conversation.question(messageId, text);
  view.schedule();
  return await dialect.read(response.body, answer) ? null : BROKEN;
}

/** The request of a question: JSON, or a form with what was said. */
function asking(messageId, text) {
  const base = link.dataset.base;
  const recording = recordings.get(messageId);
  if (recording !== undefined) return dialect.voice(base, session, recording);
  const { url, headers, body } = dialect.request(base, session, text);
  return {
    url,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  };
}

/** What the broker says when it does not answer. */
async function refusal(response) {
  const { error } = await response.json().catch(() => ({}));
  return error ?? { code: `${response.status}`, message: response.statusText, retryable: false };
}

/** No answer came: the question failed, or what has begun of its answer. */
function settle(problem, answer, messageId) {
  if (conversation.find('turn', messageId) === undefined) conversation.refused(messageId, problem);
  else if (answer.isOpen) answer.failed(problem);
}

function announceEnd(stopped, problem, text) {
  if (stopped) announce('Stopped');
  else announce(problem === null ? `Answer: ${text}` : reasonOf(problem));
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
