/* Speech as a file: what the microphone hears, as a WAV of 16 kHz, mono, 16 bits a sample. */

const RATE = 16_000;
const HEAD_BYTES = 44;

const REASONS = {
  NotAllowedError: 'The microphone is blocked. Allow it for this page, and try again.',
  NotFoundError: 'There is no microphone here.',
  NotReadableError: 'The microphone cannot be used. Does another program have it?',
};
const INSECURE = 'Browsers give a microphone only to pages over https.';

export class Recorder {
  #stream;
  #context;
  #pieces = [];
  #frames = 0;

  /**
   * Begin to record. The browser may ask its user first.
   * @param {{heard: (level: number, ms: number) => void, ended: () => void}} on
   *   `heard`: how loud it is (0 to 1), and how long the recording has come to be.
   *   `ended`: the microphone was taken away.
   * @throws {Error} there is none, or it may not be used; the message says so to the user
   */
  static async start(on) {
    if (navigator.mediaDevices === undefined) throw new Error(INSECURE);
    const recorder = new Recorder();
    try {
      await recorder.#open(on);
    } catch (error) {
      recorder.discard();
      throw new Error(REASONS[error.name] ?? `The microphone cannot be used: ${error.message}`);
    }
    return recorder;
  }

  async #open({ heard, ended }) {
    this.#stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    this.#stream.getAudioTracks()[0].addEventListener('ended', ended);
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule(new URL('./capture.js', import.meta.url));
    const capture = new AudioWorkletNode(this.#context, 'capture', {
      channelCount: 1, channelCountMode: 'explicit',
    });
    capture.port.onmessage = ({ data }) => {
      this.#pieces.push(data);
      this.#frames += data.length;
      heard(loudness(data), (this.#frames / this.#context.sampleRate) * 1000);
    };
    // It says nothing; but what leads nowhere may not be run.
    this.#context.createMediaStreamSource(this.#stream).connect(capture)
      .connect(this.#context.destination);
    await this.#context.resume();
  }

  /** It is over. Returns the file; null if nothing has come. */
  async finish() {
    const { sampleRate } = this.#context;
    this.discard();
    if (this.#frames === 0) return null;
    const recorded = new AudioBuffer({ length: this.#frames, sampleRate });
    let at = 0;
    for (const piece of this.#pieces) {
      recorded.copyToChannel(piece, 0, at);
      at += piece.length;
    }
    return wav(await resampled(recorded));
  }

  /** Let go of the microphone. */
  discard() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    if (this.#context?.state !== 'closed') this.#context?.close();
  }
}

function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.sqrt(sum / samples.length);
}

/** The browser's own filters do it: a recording may be of any rate. */
async function resampled(recorded) {
  const context = new OfflineAudioContext(1, Math.ceil(recorded.duration * RATE), RATE);
  const source = new AudioBufferSourceNode(context, { buffer: recorded });
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

function wav(samples) {
  const bytes = samples.length * 2;
  const view = new DataView(new ArrayBuffer(HEAD_BYTES + bytes));
  const text = (at, letters) => {
    for (const [index, letter] of [...letters].entries()) {
      view.setUint8(at + index, letter.charCodeAt(0));
    }
  };
  text(0, 'RIFF');
  view.setUint32(4, HEAD_BYTES - 8 + bytes, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true); // bytes of this part
  view.setUint16(20, 1, true); // plain samples
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, RATE, true);
  view.setUint32(28, RATE * 2, true); // bytes a second
  view.setUint16(32, 2, true); // bytes of all channels' samples
  view.setUint16(34, 16, true); // bits a sample
  text(36, 'data');
  view.setUint32(40, bytes, true);
  for (const [index, sample] of samples.entries()) {
    const level = Math.max(-1, Math.min(1, sample));
    view.setInt16(HEAD_BYTES + index * 2, Math.round(level * 0x7fff), true);
  }
  return new Blob([view], { type: 'audio/wav' });
}
