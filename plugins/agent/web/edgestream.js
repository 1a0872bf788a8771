/* A client for edgestream's wire protocol, version 1, over JSON (docs/protocol.md).
 *
 * It keeps one connection to one server of the broker: after a loss it comes back,
 * subscribes again from where it was, and repeats the publishes that were not
 * acknowledged. It knows nothing of chats.
 */

import { EdgeStreamError, SUBPROTOCOL, matches, mayReturn, randomId } from './protocol.js';

const WELCOME_WITHIN_MS = 10_000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 20_000;
/** A connection that stood this long was a good one: the next retry is a quick one again. */
const STABLE_MS = 10_000;

/** What a subscription is without a connection. `standing`: live events are for it. */
const UNSUBSCRIBED = { id: 0, standing: false };

/**
 * What a connection is doing:
 *   { phase: 'connecting' }
 *   { phase: 'live' }
 *   { phase: 'waiting', retryAt, reason }   lost; the next attempt is at `retryAt` (Date.now)
 *   { phase: 'refused', code, reason }      lost for good, until `connect()` is called again
 */
export class EdgeStream {
  #url;
  #onState;
  #token;
  // Who this page is across its reconnects. Not kept anywhere: a duplicated tab would
  // get a copy, and the two would push each other off the broker for ever.
  #client = randomId();
  #socket = null;
  #live = false;
  #liveSince = 0;
  #goodbye = null;
  #attempt = 0;
  #retryTimer = 0;
  #heardAt = 0;
  #silenceMs = WELCOME_WITHIN_MS;
  #silenceTimer = 0;
  #lastId = 0;
  #maxBytes = Infinity;
  #subscriptions = new Set();
  #unacknowledged = [];

  /**
   * @param {string} url such as `wss://host/ws/chat`
   * @param {{onState?: (state: object) => void, token?: string}} options
   */
  constructor(url, { onState = () => {}, token } = {}) {
    this.#url = url;
    this.#onState = onState;
    this.#token = token;
  }

  /** Connect now, whatever state this is in. */
  connect() {
    this.#letGo();
    this.#goodbye = null;
    this.#onState({ phase: 'connecting' });
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    socket.onopen = () => this.#send({ op: 'hello', client: this.#client, token: this.#token });
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#socket = socket;
    this.#heardAt = Date.now();
    this.#silenceMs = WELCOME_WITHIN_MS;
    this.#watchSilence();
  }

  /** Do not wait for the next attempt: the network is back. A refusal stays one. */
  retryNow() {
    if (this.#retryTimer !== 0) this.connect();
  }

  /**
   * Subscribe, now and after every reconnect: with a key from the last cursor, so that
   * nothing is missed or repeated; otherwise with the same `replay` again.
   *
   * @param {{topic: string, key?: string, replay?: 'none'|'snapshot'|'history'}} options
   * @param {{event: Function, subscribed?: Function, replayed?: Function, error?: Function}} on
   *   `event(message)`; `message.sub` is set where it is replayed. `subscribed({recovered})`:
   *   anything but true means that what follows, until `replayed()`, is the state anew.
   * @returns {{replay: (replay: string) => void}} `replay` tells the past once more, and
   *   otherwise. No live event is missed or comes twice meanwhile.
   */
  subscribe(options, on) {
    const subscription = { options, on, cursor: undefined, ...UNSUBSCRIBED };
    this.#subscriptions.add(subscription);
    if (this.#live) this.#send(this.#subscribing(subscription));
    return {
      replay: (replay) => {
        subscription.cursor = undefined;
        if (this.#live) this.#send(this.#subscribing(subscription, replay));
      },
    };
  }

  /**
   * Publish one message. Without a connection it waits for the next one, and it is
   * repeated after a reconnect until it is acknowledged: so give it a name of its own.
   *
   * @returns {Promise<void>} settles when the broker accepted it, or fails: EdgeStreamError.
   */
  publish(topic, body) {
    return new Promise((resolve, reject) => {
      const publish = { topic, body, id: 0, resolve, reject };
      if (this.#socket === null && this.#retryTimer === 0) {
        reject(new EdgeStreamError({ code: 'closed', message: 'There is no connection.' }));
        return;
      }
      this.#unacknowledged.push(publish);
      if (this.#live) this.#publish(publish);
    });
  }

  // ------------------------------------------------------------------ sending

  #send(...operations) {
    if (operations.length === 0) return;
    this.#socket.send(JSON.stringify(operations.length === 1 ? operations[0] : operations));
  }

  #subscribing(subscription, replay = subscription.options.replay) {
    const { topic, key } = subscription.options;
    subscription.id = ++this.#lastId;
    subscription.after = key === undefined ? undefined : subscription.cursor;
    const { id, after } = subscription;
    // JSON.stringify leaves out what is undefined, which is what the protocol wants.
    return { op: 'subscribe', id, topic, key, replay, after };
  }

  #publish(publish) {
    const { topic, body } = publish;
    publish.id = ++this.#lastId;
    const operation = { op: 'publish', id: publish.id, topic, body };
    if (new TextEncoder().encode(JSON.stringify(operation)).length > this.#maxBytes) {
      // Sent, it would cost the connection (1009), and that again after every reconnect.
      this.#failed({ id: publish.id, code: 'too_large', message: 'over limits.maxMessageBytes' });
    } else {
      this.#send(operation);
    }
  }

  // ---------------------------------------------------------------- receiving

  #receive(data) {
    this.#heardAt = Date.now();
    let messages;
    try {
      messages = [JSON.parse(data)].flat();
    } catch {
      this.#lost('The server does not speak this protocol.');
      return;
    }
    for (const message of messages) {
      try {
        this.#handle(message);
      } catch (error) {
        reportError(error); // a reader's mistake must not cost the messages behind it
      }
    }
  }

  #handle(message) {
    switch (message.op) {
      case 'welcome': return this.#welcomed(message);
      case 'event': return this.#dispatch(message);
      case 'ack': return this.#acknowledged(message.id);
      case 'error': return this.#failed(message);
      case 'subscribed': return this.#subscribed(message);
      case 'replayed': return this.#replayed(message);
      case 'goodbye': this.#goodbye = message; return undefined;
      default: return undefined; // a ping was heard, that is all; unknown ones are for newer clients
    }
  }

  #welcomed({ heartbeatMs, limits }) {
    this.#live = true;
    this.#liveSince = Date.now();
    this.#silenceMs = heartbeatMs * 1.5;
    this.#maxBytes = limits.maxMessageBytes;
    this.#watchSilence();
    this.#send(...Array.from(this.#subscriptions, (wish) => this.#subscribing(wish)));
    for (const publish of [...this.#unacknowledged]) this.#publish(publish);
    this.#onState({ phase: 'live' });
  }

  #dispatch(message) {
    for (const subscription of this.#subscriptions) {
      const { topic, key } = subscription.options;
      const meant = message.sub === undefined
        // A live event comes once, however many subscriptions it matches. One that is
        // still being replayed gets it from its replay.
        ? subscription.standing && matches(topic, message.topic)
          && (key === undefined || key === message.key)
        : message.sub === subscription.id;
      if (!meant) continue;
      if (message.cursor !== undefined) subscription.cursor = message.cursor;
      subscription.on.event(message);
    }
  }

  #subscribed({ id, cursor, recovered }) {
    const subscription = this.#byId(id);
    if (subscription === undefined) return;
    const { replay = 'none' } = subscription.options;
    subscription.standing = replay === 'none' && recovered === undefined;
    if (cursor !== undefined) subscription.cursor = cursor;
    subscription.on.subscribed?.({ recovered });
  }

  #replayed({ id, cursor }) {
    const subscription = this.#byId(id);
    if (subscription === undefined) return;
    subscription.standing = true;
    if (cursor !== undefined) subscription.cursor = cursor;
    subscription.on.replayed?.();
  }

  #acknowledged(id) {
    this.#unacknowledged = this.#unacknowledged.filter((publish) => {
      const accepted = publish.id !== 0 && publish.id <= id;
      if (accepted) publish.resolve();
      return !accepted;
    });
  }

  #failed(message) {
    const error = new EdgeStreamError(message);
    const publish = this.#unacknowledged.find(({ id }) => id !== 0 && id === message.id);
    const subscription = this.#byId(message.id);
    if (publish !== undefined) {
      this.#unacknowledged = this.#unacknowledged.filter((other) => other !== publish);
      publish.reject(error);
    } else if (subscription !== undefined && subscription.after !== undefined) {
      subscription.cursor = undefined; // whatever is wrong with resuming, beginning anew is not
      this.#send(this.#subscribing(subscription));
    } else if (subscription?.on.error !== undefined) {
      subscription.on.error(error);
    } else {
      reportError(error);
    }
  }

  #byId(id) {
    return Array.from(this.#subscriptions).find((subscription) => subscription.id === id);
  }

  // ------------------------------------------------------------ losing, retrying

  /** Browsers hide a WebSocket's pings, and a dead link can stay "open" for many minutes. */
  #watchSilence() {
    clearTimeout(this.#silenceTimer);
    const left = this.#heardAt + this.#silenceMs - Date.now();
    if (left <= 0) this.#lost('The server has gone silent.');
    else this.#silenceTimer = setTimeout(() => this.#watchSilence(), left);
  }

  #closed(code, closeReason) {
    const reason = closeReason || this.#goodbye?.reason || '';
    if (this.#goodbye?.reconnect ?? mayReturn(code)) {
      this.#lost(reason || 'The connection was lost.', this.#goodbye?.retryAfterMs);
      return;
    }
    this.#letGo();
    const error = new EdgeStreamError({ code: 'closed', message: reason || `Closed (${code}).` });
    for (const publish of this.#unacknowledged.splice(0)) publish.reject(error);
    this.#onState({ phase: 'refused', code, reason });
  }

  #lost(reason, atLeastMs = 0) {
    if (this.#live && Date.now() - this.#liveSince >= STABLE_MS) this.#attempt = 0;
    this.#letGo();
    const longest = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#attempt++);
    // Jitter, so that the readers of a broker that restarted do not return as one.
    const delay = atLeastMs + longest * (0.5 + Math.random() / 2);
    this.#retryTimer = setTimeout(() => this.connect(), delay);
    this.#onState({ phase: 'waiting', retryAt: Date.now() + delay, reason });
  }

  /** Forget the connection. Ids start anew with the next one. */
  #letGo() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#silenceTimer);
    this.#retryTimer = 0;
    this.#live = false;
    this.#lastId = 0;
    for (const subscription of this.#subscriptions) Object.assign(subscription, UNSUBSCRIBED);
    for (const publish of this.#unacknowledged) publish.id = 0;
    if (this.#socket === null) return;
    const socket = this.#socket;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
