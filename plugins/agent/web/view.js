/* The page around the rows: drawing once a frame, scrolling, the composer. */

import { createRow } from './rows.js';
import { textOf } from './turns.js';

/** How far from the end, in pixels, a reader still counts as following it. */
const NEAR_END = 48;
const COPIED_FOR_MS = 2_000;

export class View {
  #conversation;
  #actions;
  #views = new Map(); // row → its view
  #frame = 0;
  #following = true;
  #ready = false;
  #scroller = byId('scroller');
  #rows = byId('rows');
  #message = byId('message');

  /** @param {{ask: (text: string) => void, retry: (row: object) => void, stop: () => void}} actions */
  constructor(conversation, actions) {
    this.#conversation = conversation;
    this.#actions = actions;
    this.#wireComposer();
    this.#wireStop();
    this.#wireScrolling();
    document.addEventListener('click', ({ target }) => this.#clicked(target.closest('button')));
  }

  /** It is known what is in this conversation: if nothing, the welcome may be shown. */
  ready() {
    this.#ready = true;
    this.schedule();
  }

  /** Draw what changed at the next animation frame, however many events come until then. */
  schedule() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** The reader acted, and wants to see the end. */
  follow() {
    this.#following = true;
    this.#toEnd();
  }

  #draw() {
    this.#frame = 0;
    const { rows, changed } = this.#conversation;
    for (const row of changed) this.#drawRow(row);
    changed.clear();
    byId('empty').hidden = rows.length > 0 || !this.#ready;
    this.#drawStop();
  }

  #drawRow(row) {
    if (!this.#views.has(row)) this.#views.set(row, createRow(row));
    const view = this.#views.get(row);
    this.#place(row, view.element);
    view.draw(row, this.#conversation);
  }

  /** Rows stay where they are, but for own questions that others came before. */
  #place(row, element) {
    const { rows } = this.#conversation;
    const later = rows.slice(rows.indexOf(row) + 1).find((other) => this.#views.has(other));
    const next = later === undefined ? null : this.#views.get(later).element;
    if (element.parentNode !== this.#rows || element.nextElementSibling !== next) {
      this.#rows.insertBefore(element, next);
    }
  }

  // ---------------------------------------------------------------- scrolling

  #wireScrolling() {
    this.#scroller.addEventListener('scroll', () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
      this.#following = scrollHeight - scrollTop - clientHeight < NEAR_END;
      byId('jump').hidden = this.#following;
    }, { passive: true });
    // Called after layout and before paint: drawing itself never has to measure.
    const observer = new ResizeObserver(() => {
      // A welcome that does not fit is read from its beginning.
      if (this.#following && this.#conversation.rows.length > 0) this.#toEnd();
    });
    observer.observe(this.#rows);
    observer.observe(this.#scroller);
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  // ----------------------------------------------------------------- composer

  #wireComposer() {
    const composer = byId('composer');
    composer.addEventListener('submit', (event) => {
      event.preventDefault();
      const text = this.#message.value.trim();
      if (text === '') return;
      this.#message.value = '';
      this.#typed();
      this.#ask(text);
    });
    this.#message.addEventListener('keydown', (event) => {
      // While an input method composes a character, Enter belongs to it.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      composer.requestSubmit();
    });
    this.#message.addEventListener('input', () => this.#typed());
    this.#typed(); // a browser may have restored a draft
  }

  #typed() {
    byId('composer').querySelector('.send').disabled = this.#message.value.trim() === '';
    this.#message.style.height = 'auto';
    this.#message.style.height = `${this.#message.scrollHeight}px`;
  }

  // --------------------------------------------------------------------- stop

  #wireStop() {
    document.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || event.isComposing || event.defaultPrevented) return;
      if (byId('stop').hidden) return;
      event.preventDefault();
      this.#actions.stop();
    });
  }

  /** There is something to stop while an answer is being written. */
  #drawStop() {
    const open = this.#conversation.openTurns();
    const button = byId('stop');
    const stopping = open.length > 0 && open.every((turn) => turn.stopping);
    if (open.length === 0 && document.activeElement === button) this.#focusMessage();
    button.hidden = open.length === 0;
    byId('stop-hint').hidden = button.hidden || stopping;
    // Not `disabled`, which would cost it the focus.
    button.setAttribute('aria-disabled', `${stopping}`);
    button.title = stopping ? 'Stopping…' : 'Stop (Esc)';
  }

  /** Elsewhere than at a keyboard it would only bring the on-screen one up. */
  #focusMessage() {
    if (matchMedia('(pointer: fine)').matches) this.#message.focus({ preventScroll: true });
  }

  #ask(text) {
    this.#actions.ask(text);
    this.follow();
  }

  // ------------------------------------------------------------------ buttons

  #clicked(button) {
    if (button === null) return;
    const { kind, id } = button.closest('.row')?.dataset ?? {};
    const row = this.#conversation.find(kind, id);
    if (button.id === 'jump') this.follow();
    else if (button.id === 'stop') this.#actions.stop();
    else if (button.dataset.ask !== undefined) this.#ask(button.dataset.ask);
    else if (button.matches('.copy')) this.#copy(button, textOf(row));
    else if (button.matches('.feedback')) this.#rate(row, button.dataset.feedback);
    else if (button.matches('.retry')) this.#actions.retry(row);
    else return;
    // These buttons go away once they are pressed; the focus should not go with them.
    if (button.matches('.retry, #jump, [data-ask]')) this.#focusMessage();
  }

  #rate(turn, feedback) {
    this.#conversation.touch(turn, { feedback: turn.feedback === feedback ? null : feedback });
    this.schedule();
  }

  async #copy(button, text) {
    if (!await copyText(text)) return;
    button.dataset.state = 'copied';
    announce('Copied');
    setTimeout(() => delete button.dataset.state, COPIED_FOR_MS);
  }
}

/** Say something to those who do not see the page. Sparingly. */
export function announce(text) {
  byId('announcer').textContent = text;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyTheOldWay(text); // no permission, or a page over plain http has no clipboard
  }
}

function copyTheOldWay(text) {
  const holder = document.createElement('textarea');
  holder.value = text;
  holder.className = 'visually-hidden';
  document.body.append(holder);
  holder.select();
  const copied = document.execCommand('copy');
  holder.remove();
  return copied;
}

function byId(id) {
  return document.getElementById(id);
}
