/* What turns.js promises, case by case. Each gets the module as its argument, so that
 * the same file runs in Chromium (test_turns.py) and in node (turns.test.mjs). */

const SESSION = { sessionId: 's', turnId: 't', agentId: 'a' };

const event = (name, body = {}, time = 1) => (
  { topic: `agent.chat.${name}`, time, body: { ...SESSION, ...body } }
);
const token = (text, tokenIndex, more = {}) => (
  event('token', { token: text, tokenIndex, isLast: false, ...more })
);
const completed = (fullText, more = {}) => event('turnCompleted', {
  fullText, toolCallsUsed: [], inputTokens: 1, outputTokens: 2, durationMs: 3, ...more,
});
const toolStarted = (toolCallId, toolName) => (
  event('toolCallStarted', { toolCallId, toolName, arguments: {} })
);
const toolCompleted = (toolCallId, more = {}) => event('toolCallCompleted', { toolCallId, ...more });
const question = (messageId, text = 'why?') => event('userMessage', { messageId, text });

function same(actual, expected) {
  const [is, should] = [actual, expected].map((value) => JSON.stringify(value));
  if (is !== should) throw new Error(`is ${is}, should be ${should}`);
}

/** A conversation after some events, and its turn `t`. */
function after({ Conversation }, ...events) {
  const chat = new Conversation();
  for (const one of events) chat.apply(one);
  return [chat, chat.find('turn', 't')];
}

/** The turn's state after each of some events. */
function states(turns, ...events) {
  const chat = new turns.Conversation();
  return events.map((one) => {
    chat.apply(one);
    return turns.stateOf(chat.find('turn', 't'));
  });
}

const ids = ({ rows }) => rows.map(({ id }) => id);

export const cases = {
  'a turn goes from dots to tool to dots to text to done'(turns) {
    same(states(
      turns,
      event('turnStarted'), toolStarted('c', 'find'), toolCompleted('c'), token('a', 0), completed('a'),
    ), ['dots', 'tool', 'dots', 'text', 'done']);
  },

  'two tool calls at once: the dots come back after both'(turns) {
    same(states(
      turns,
      event('turnStarted'), toolStarted('c', 'one'), toolStarted('d', 'two'),
      toolCompleted('d'), toolCompleted('c'),
    ), ['dots', 'tool', 'tool', 'tool', 'dots']);
  },

  'the tool that began last is the one that is named'(turns) {
    const [, turn] = after(turns, event('turnStarted'), toolStarted('c', 'one'), toolStarted('d', 'two'));
    same(turns.runningTool(turn).name, 'two');
  },

  'a tool call after text shows the tool, then dots, and keeps the text'(turns) {
    const [, turn] = after(turns, token('a', 0), toolStarted('c', 'find'), toolCompleted('c'));
    same([turns.stateOf(turn), turns.textOf(turn)], ['dots', 'a']);
  },

  'a tool call that failed, or whose start was never seen, is listed'(turns) {
    const [, turn] = after(
      turns,
      toolStarted('c', 'find'), toolCompleted('c', { error: 'no', durationMs: 5 }),
      toolCompleted('d', { toolName: 'seek' }),
    );
    same(turn.tools.map(({ name, state }) => [name, state]), [['find', 'failed'], ['seek', 'done']]);
  },

  'an empty token is no text yet'(turns) {
    same(states(turns, event('turnStarted'), token('', 0), token('a', 1)), ['dots', 'dots', 'text']);
  },

  'isLast ends the text before the turn ends'(turns) {
    const [, turn] = after(turns, token('a', 0), token('', 1, { isLast: true }));
    same([turn.textEnded, turns.stateOf(turn)], [true, 'text']);
  },

  'tokens are joined in order, and a repeat is ignored'(turns) {
    const [, turn] = after(turns, token('a', 0), token('b', 1), token('b', 1), token('c', 2));
    same([turns.textOf(turn), turn.gap], ['abc', false]);
  },

  'a merged token event counts for its tokens'(turns) {
    const [, turn] = after(
      turns,
      token('abc', 0, { tokenCount: 3 }), token('c', 2), token('d', 3), token('ef', 4, { tokenCount: 2 }),
    );
    same([turns.textOf(turn), turn.gap, turn.nextIndex], ['abcdef', false, 6]);
  },

  'tokenIndex 0 begins the text anew'(turns) {
    const [, turn] = after(
      turns, token('a', 0), token('b', 1), token('abc', 0, { tokenCount: 3 }), token('d', 3),
    );
    same([turns.textOf(turn), turn.gap], ['abcd', false]);
  },

  'text is only added to the pieces, so that a view can append'(turns) {
    const [chat, turn] = after(turns, token('a', 0));
    const { pieces } = turn;
    chat.apply(token('b', 1));
    same(turn.pieces === pieces, true);
    chat.apply(completed('ab'));
    same(turn.pieces === pieces, false);
  },

  'a gap is marked, and turnCompleted heals it'(turns) {
    const [chat, turn] = after(turns, token('a', 0), token('c', 2), token('d', 3));
    same([turns.textOf(turn), turn.gap], ['a…cd', true]);
    chat.apply(completed('abcd'));
    same([turns.textOf(turn), turn.gap], ['abcd', false]);
  },

  'a merged event that overlaps is a gap, not doubled text'(turns) {
    const [, turn] = after(turns, token('a', 0), token('b', 1), token('bc', 1, { tokenCount: 2 }));
    same([turns.textOf(turn), turn.gap, turn.nextIndex], ['ab', true, 3]);
  },

  'a turn whose beginning was missed is shown, as far as it is known'(turns) {
    const [, turn] = after(turns, token('c', 2));
    same([turns.stateOf(turn), turn.gap], ['text', true]);
    same(turns.stateOf(after(turns, completed('all'))[1]), 'done');
  },

  'turnStarted begins the turn anew, also one that had ended'(turns) {
    const [chat, turn] = after(turns, token('a', 0), toolStarted('c', 'find'), event('error', { code: 'x' }));
    same(turns.stateOf(turn), 'error');
    chat.apply(event('turnStarted'));
    same([turns.stateOf(turn), turns.textOf(turn), turn.tools.length], ['dots', '', 0]);
    same(chat.rows.length, 1);
  },

  'what comes late for a turn that ended changes nothing'(turns) {
    const [chat, turn] = after(turns, token('a', 0), completed('ab'));
    for (const late of [token('a', 0), toolStarted('c', 'x'), event('thinking', { text: 'x' })]) chat.apply(late);
    same([turns.stateOf(turn), turns.textOf(turn), turn.tools.length], ['done', 'ab', 0]);
  },

  'an error ends its turn, keeps its text and fails its open tool calls'(turns) {
    const [, turn] = after(
      turns, token('a', 0), toolStarted('c', 'find'),
      event('error', { code: 'publisher_lost', message: 'gone', retryable: true }),
    );
    same([turns.stateOf(turn), turns.textOf(turn)], ['error', 'a']);
    same(turn.tools[0].state, 'failed');
    same(turn.problem, { code: 'publisher_lost', message: 'gone', retryable: true });
  },

  'an error without a turn belongs to its question, or stands alone'(turns) {
    const problem = { code: 'x', message: 'y', retryable: false, turnId: undefined };
    const [chat] = after(turns, question('m'), event('error', { ...problem, messageId: 'm' }));
    same(chat.find('user', 'm').state, 'unanswered');
    chat.apply(event('error', problem, 7));
    chat.apply(event('error', problem, 7));
    same(chat.rows.map(({ kind }) => kind), ['user', 'note']);
  },

  'thoughts, progress, suggestions and usage are kept'(turns) {
    const [, turn] = after(
      turns,
      event('thinking', { text: 'a' }), event('thinking', { text: 'b' }),
      event('progress', { percent: 30, message: 'reading' }), event('suggestions', { questions: ['q'] }),
    );
    same([turn.thinking, turn.progress.percent, turn.suggestions], ['ab', 30, ['q']]);
  },

  'open turns do not mix'(turns) {
    const [chat] = after(
      turns, token('a', 0), { ...token('x', 0), body: { ...token('x', 0).body, turnId: 'u' } }, token('b', 1),
    );
    same(chat.rows.map(turns.textOf), ['ab', 'x']);
  },

  'an own question is shown once'(turns) {
    const [chat] = after(turns);
    chat.ask('m', 'why?');
    same(chat.find('user', 'm').state, 'sending');
    chat.apply(question('m'));
    chat.accepted('m');
    same([chat.rows.length, chat.find('user', 'm').state], [1, 'sent']);
    chat.apply(event('turnStarted', { messageId: 'm' }));
    same(chat.find('user', 'm').state, 'answered');
  },

  'an own question stays last until the stream places it'(turns) {
    const [chat] = after(turns);
    chat.ask('mine', 'why?');
    chat.apply(question('theirs'));
    chat.apply(event('turnStarted', { messageId: 'theirs' }));
    same(ids(chat), ['theirs', 't', 'mine']);
    chat.ask('second', 'how?');
    chat.apply(question('second'));
    same(ids(chat), ['theirs', 't', 'second', 'mine']);
    chat.apply(question('mine'));
    same(ids(chat), ['theirs', 't', 'second', 'mine']);
  },

  'a refused question stays, and goes last when it is sent again'(turns) {
    const [chat] = after(turns);
    chat.ask('m', 'why?');
    chat.refused('m', { code: 'no_worker', message: 'nobody', retryable: true });
    chat.apply(question('other'));
    same([ids(chat), chat.find('user', 'm').problem.code], [['m', 'other'], 'no_worker']);
    chat.ask('m', 'why?');
    same([ids(chat), chat.find('user', 'm').problem], [['other', 'm'], null]);
  },

  'an answer names its question only where that does not stand right before it'(turns) {
    const [chat] = after(
      turns, question('m'), question('n'), event('turnStarted', { messageId: 'm' }),
      event('turnStarted', { turnId: 'u', messageId: 'n' }),
    );
    same(chat.replyTo(chat.find('turn', 't')).id, 'm');
    same(chat.replyTo(chat.find('turn', 'u')), undefined);
  },

  'an open turn that a compacted state no longer names is ended'(turns) {
    const [chat, turn] = after(turns, token('a', 0));
    chat.apply(event('turnStarted', { turnId: 'u' }));
    chat.beginResync();
    chat.apply(event('turnStarted', { turnId: 'u' }));
    chat.endResync();
    same([turns.stateOf(turn), turn.problem.code, turns.textOf(turn)], ['error', 'turn_lost', 'a']);
    same(turns.stateOf(chat.find('turn', 'u')), 'dots');
    chat.apply(event('turnStarted'));
    same(turns.stateOf(turn), 'dots');
  },

  'the same events again leave the same rows'(turns) {
    const events = [
      question('m'), event('turnStarted', { messageId: 'm' }), event('thinking', { text: 'x' }),
      toolStarted('c', 'find'), toolCompleted('c'), token('a', 0), token('b', 1),
      event('suggestions', { questions: ['q'] }), completed('ab'),
      event('error', { turnId: undefined, code: 'x', message: 'y', retryable: false }, 9),
    ];
    same(after(turns, ...events, ...events)[0].rows, after(turns, ...events)[0].rows);
  },

  'a turn that somebody stops is stopping until it ends, with its text'(turns) {
    const [chat, turn] = after(turns, event('turnStarted'), token('a', 0), event('cancel'));
    same([turns.stateOf(turn), turn.stopping, chat.openTurns().length], ['text', true, 1]);
    chat.apply(token('b', 1));
    chat.apply(completed('ab', { finishReason: 'cancelled' }));
    same([turns.stateOf(turn), turn.stopping, turns.textOf(turn)], ['done', false, 'ab']);
    chat.apply(event('cancel'));
    same([turn.stopping, turn.finishReason, chat.openTurns()], [false, 'cancelled', []]);
  },

  'a question is asked again once, and only if its error says that this may help'(turns) {
    const lost = { code: 'publisher_lost', message: 'gone', retryable: true };
    const [chat, turn] = after(turns, question('m'), event('turnStarted', { messageId: 'm' }));
    same(chat.retryOf(turn), undefined);
    chat.apply(event('error', lost));
    same(chat.retryOf(turn).id, 'm');
    chat.changed.clear();
    chat.apply(question('other', 'how?'));
    same(chat.retryOf(turn).id, 'm');
    chat.ask('n', 'why?');
    same([chat.retryOf(turn), chat.changed.has(turn)], [undefined, true]);
    chat.apply(event('turnStarted', { turnId: 'u', messageId: 'other' }));
    chat.apply(event('error', { ...lost, turnId: 'u', retryable: false }));
    same(chat.retryOf(chat.find('turn', 'u')), undefined);
  },

  'an answer whose question is not known offers no retry'(turns) {
    const lost = { code: 'publisher_lost', message: 'gone', retryable: true };
    const [chat, turn] = after(turns, event('error', { ...lost, messageId: 'm' }));
    same([chat.retryOf(turn), turn.messageId], [undefined, 'm']);
  },

  'what was told may be a part: nothing at all, or no beginning of an open turn'(turns) {
    const [chat] = after(turns);
    chat.ask('mine', 'why?');
    same(chat.isPartial(), true);
    chat.apply(token('c', 2));
    same(chat.isPartial(), true);
    chat.apply(event('turnStarted'));
    same(chat.isPartial(), false);
    same(after(turns, completed('all'))[0].isPartial(), false);
  },

  'topics that show nothing, known or not, are passed over'(turns) {
    const [chat] = after(turns, event('cancel'), event('messageSaved'), event('action'), event('invented'));
    same(chat.rows, []);
  },
};
