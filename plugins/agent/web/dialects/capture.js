/* Runs beside the page, where sound comes in: hands on what the microphone hears. */

registerProcessor('capture', class extends AudioWorkletProcessor {
  process([[channel]]) {
    if (channel !== undefined) this.port.postMessage(channel.slice());
    return true;
  }
});
