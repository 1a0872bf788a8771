/* The header's two indicators: the connection, and the agents behind it. */

import { announce } from './view.js';

/** What a user is told when the broker says: do not come back. */
const REFUSALS = {
  4001: 'Sign-in needed',
  4002: 'Sign-in expired',
  4003: 'Not allowed here',
  4010: 'Open elsewhere',
};

/** From the best news to the worst. */
const STATUSES = ['online', 'busy', 'degraded', 'offline'];
const STATUS_WORDS = {
  online: 'online',
  busy: 'busy',
  degraded: 'having trouble',
  offline: 'offline',
};

/** Shows the states that `EdgeStream` reports, and counts down to its next attempt. */
export class ConnectionIndicator {
  #element = document.getElementById('connection');
  #label = this.#element.querySelector('.label');
  #button = this.#element.querySelector('button');
  #wasLive = false;
  #ticking = 0;

  /** @param {() => void} retry what the button does */
  constructor(retry) {
    this.#button.addEventListener('click', retry);
  }

  show(state) {
    clearInterval(this.#ticking);
    const before = this.#element.dataset.phase;
    this.#element.dataset.phase = state.phase;
    this.#element.title = state.reason ?? '';
    this.#button.hidden = state.phase !== 'waiting' && state.phase !== 'refused';
    this.#describe(state);
    if (state.phase === 'waiting') {
      this.#ticking = setInterval(() => this.#describe(state), 250);
    }
    if (state.phase === 'live') {
      if (this.#wasLive) announce('Connected again');
      this.#wasLive = true;
    } else if (before === 'live') {
      announce('The connection was lost');
    }
  }

  #describe(state) {
    const text = this.#words(state);
    if (this.#label.textContent !== text) this.#label.textContent = text;
  }

  #words({ phase, retryAt, code, reason }) {
    switch (phase) {
      case 'live': return 'Live';
      case 'connecting': return this.#wasLive ? 'Reconnecting' : 'Connecting';
      case 'refused': return REFUSALS[code] ?? (reason || 'Disconnected');
      default: {
        const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
        return navigator.onLine ? `Reconnecting in ${seconds} s` : 'You are offline';
      }
    }
  }
}

/** Shows the best of the agents' last known statuses. */
export class AgentIndicator {
  #element = document.getElementById('agent');
  #label = this.#element.querySelector('.label');
  #agents = new Map();

  /** Each subscription begins with the last status of every agent there is. */
  reset() {
    this.#agents.clear();
  }

  update({ agentId, status, detail }) {
    this.#agents.set(agentId, { agentId, status, detail });
    this.show();
  }

  show() {
    const rank = ({ status }) => STATUSES.indexOf(status);
    const [best] = [...this.#agents.values()].sort((a, b) => rank(a) - rank(b));
    if (best === undefined) {
      this.#set('offline', 'No agent is online', '');
      return;
    }
    const others = [...this.#agents.values()].filter(({ status }) => status === best.status).length - 1;
    const who = others === 0 ? `${best.agentId} is` : `${best.agentId} and ${others} more are`;
    this.#set(best.status, `${who} ${STATUS_WORDS[best.status] ?? best.status}`, best.detail ?? '');
  }

  /** Without a connection nobody knows. */
  unknown() {
    if (this.#element.dataset.status !== 'unknown') this.#set('unknown', 'Status unknown', '');
  }

  #set(status, text, detail) {
    this.#element.dataset.status = status;
    this.#element.title = detail;
    this.#label.textContent = text;
  }
}
