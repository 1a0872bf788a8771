/* The chat page: one session of one broker, wired together.
 *
 * Everything shown comes from the session's events, also what this page itself asked:
 * so every tab, and every phone, on one address shows the same conversation.
 */

import { act } from './actions.js';
import { EdgeStream } from './edgestream.js';
import { AgentIndicator, ConnectionIndicator } from './indicators.js';
import { randomId } from './protocol.js';
import { reasonOf } from './rows.js';
import { token } from './token.js';
import { Conversation } from './turns.js';
import { View, announce } from './view.js';

/** Why a turn cannot be stopped that needs no stopping. */
const OVER = new Set(['turn_closed', 'turn_not_started']);

const [sessionId, isNew] = sessionFromAddress();
const conversation = new Conversation();
const view = new View(conversation, { ask, retry, stop });
const connection = new ConnectionIndicator(() => client.connect());
const agents = new AgentIndicator();
let caughtUp = false;
let askedAgain = false; // for what the history no longer has

const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
const client = new EdgeStream(`${scheme}//${location.host}/ws/chat`, {
  token,
  onState(state) {
    connection.show(state);
    if (state.phase !== 'live') agents.unknown();
  },
});

const session = client.subscribe({ topic: 'agent.chat.*', key: sessionId, replay: 'history' }, {
  subscribed({ recovered }) {
    if (caughtUp && recovered !== true) conversation.beginResync();
  },
  event(message) {
    conversation.apply(message);
    view.schedule();
    if (caughtUp) announceEvent(message);
    if (caughtUp && message.topic === 'agent.chat.action') act(message.body.action);
  },
  replayed() {
    if (!caughtUp && !isNew && !askedAgain && conversation.isPartial()) {
      askedAgain = true;
      session.replay('snapshot');
      return;
    }
    caughtUp = true;
    conversation.endResync();
    view.ready();
  },
  error: showRefusal,
});

client.subscribe({ topic: 'agent.status', replay: 'snapshot' }, {
  subscribed: () => agents.reset(),
  event: ({ body }) => agents.update(body),
  replayed: () => agents.show(),
  error: showRefusal,
});

window.addEventListener('online', () => client.retryNow());
if (isNew) view.ready();
client.connect();

/** The session is named by the address, so that the address can be shared and reloaded. */
function sessionFromAddress() {
  const address = new URL(location.href);
  const given = address.searchParams.get('session');
  if (given) return [given, false];
  const created = randomId();
  address.searchParams.set('session', created);
  history.replaceState(null, '', address);
  return [created, true];
}

function ask(text) {
  send(randomId(), text);
}

/** A message that was refused goes out again; one that was accepted is asked anew. */
function retry(row) {
  const question = conversation.retryOf(row);
  if (question === undefined) return;
  if (question.state === 'failed') send(question.id, question.text);
  else ask(question.text);
}

async function send(messageId, text) {
  conversation.ask(messageId, text);
  view.schedule();
  view.follow();
  try {
    await client.publish('agent.chat.userMessage', { sessionId, messageId, text });
    conversation.accepted(messageId);
  } catch (error) {
    conversation.refused(messageId, error);
    announce(`Not sent. ${reasonOf(error)}`);
  }
  view.schedule();
}

function stop() {
  for (const turn of conversation.openTurns()) if (!turn.stopping) cancel(turn);
}

async function cancel(turn) {
  conversation.touch(turn, { stopping: true });
  view.schedule();
  try {
    await client.publish('agent.chat.cancel', { sessionId, turnId: turn.id });
  } catch (error) {
    conversation.touch(turn, { stopping: false });
    // It may have ended by itself in the meantime: that is what was wanted.
    if (!OVER.has(error.code)) announce(`Not stopped. ${reasonOf(error)}`);
    view.schedule();
  }
}

function announceEvent({ topic, body }) {
  if (topic === 'agent.chat.turnCompleted' && body.finishReason === 'cancelled') announce('Stopped');
  else if (topic === 'agent.chat.turnCompleted') announce(`Answer: ${body.fullText}`);
  else if (topic === 'agent.chat.error') announce(reasonOf(body));
}

function showRefusal({ message }) {
  connection.show({ phase: 'refused', reason: message });
}
