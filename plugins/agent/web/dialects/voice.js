/* The composer's microphone: press, speak, send; or discard. */

import { announce } from '../view.js';
import { Recorder } from './recorder.js';

const LONGEST_MS = 30_000; // then it is sent by itself
const SHORTEST_MS = 300; // less is a slip of the finger
const BAR_MS = 60;

export class Voice {
  #send;
  #recorder = null;
  #meter = new Meter(document.getElementById('levels'));
  #ms = 0;
  #composer = document.getElementById('composer');
  #button = document.getElementById('record');
  #time = document.getElementById('recorded');
  #problem = document.getElementById('voice-problem');

  /** @param {(recording: Blob) => void} send */
  constructor(send) {
    this.#send = send;
    const panel = document.getElementById('recording');
    this.#button.hidden = false;
    this.#button.addEventListener('click', () => this.#begin());
    panel.querySelector('.discard').addEventListener('click', () => this.#discard());
    panel.querySelector('.send').addEventListener('click', () => this.#finish());
    panel.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      event.preventDefault(); // it stops no answer
      this.#discard();
    });
    this.#composer.addEventListener('submit', () => this.#tell(''));
  }

  async #begin() {
    if (this.#button.disabled) return;
    this.#tell('');
    this.#ms = 0;
    this.#time.textContent = '0:00';
    this.#meter.clear();
    this.#button.disabled = true; // the browser may be asking its user
    try {
      this.#recorder = await Recorder.start({
        heard: (level, ms) => this.#heard(level, ms),
        ended: () => this.#finish(),
      });
    } catch (error) {
      this.#tell(error.message);
      return;
    } finally {
      this.#button.disabled = false;
    }
    this.#show(true);
    announce('Recording');
  }

  #heard(level, ms) {
    this.#ms = ms;
    this.#meter.add(level, ms);
    const seconds = `${Math.floor(ms / 1000) % 60}`.padStart(2, '0');
    const time = `${Math.floor(ms / 60_000)}:${seconds}`;
    if (this.#time.textContent !== time) this.#time.textContent = time;
    if (ms >= LONGEST_MS) this.#finish();
  }

  async #finish() {
    const recorder = this.#taken();
    if (recorder === null) return;
    const recording = await recorder.finish();
    if (recording === null || this.#ms < SHORTEST_MS) this.#tell('That was too short to be heard.');
    else this.#send(recording);
  }

  #discard() {
    this.#taken()?.discard();
    announce('Discarded');
  }

  #taken() {
    const recorder = this.#recorder;
    this.#recorder = null;
    this.#show(false);
    return recorder;
  }

  #show(recording) {
    const had = this.#composer.hasAttribute('data-recording');
    this.#composer.toggleAttribute('data-recording', recording);
    if (recording) this.#composer.querySelector('#recording .send').focus();
    else if (had) this.#button.focus();
  }

  #tell(problem) {
    this.#problem.textContent = problem;
  }
}

/** How loud the last seconds were, as bars. */
class Meter {
  #bars;
  #levels = [];
  #loudest = 0;
  #next = 0; // when the next bar begins, in ms of the recording

  constructor(element) {
    this.#bars = element.children;
  }

  clear() {
    this.#levels = new Array(this.#bars.length).fill(0);
    this.#next = this.#loudest = 0;
    this.#draw();
  }

  add(level, ms) {
    this.#loudest = Math.max(this.#loudest, level);
    if (ms < this.#next) return;
    this.#next = ms + BAR_MS;
    this.#levels.shift();
    this.#levels.push(this.#loudest);
    this.#loudest = 0;
    this.#draw();
  }

  /** Speech is quiet beside what a microphone can tell: its root looks as it sounds. */
  #draw() {
    for (const [at, level] of this.#levels.entries()) {
      this.#bars[at].style.transform = `scaleY(${Math.min(1, 0.08 + Math.sqrt(level) * 1.4)})`;
    }
  }
}
