/* How the dialect pages read their streams: chunk by chunk, as a network cuts them.
 * Each case gets the modules, and what the broker wrote for one recorded turn, by write. */

function same(actual, expected) {
  const [is, should] = [actual, expected].map((value) => JSON.stringify(value));
  if (is !== should) throw new Error(`is ${is}, should be ${should}`);
}

/** An answer that notes what it is told. */
function recorder() {
  const told = [];
  const answer = new Proxy({}, {
    get: (_, name) => (...said) => told.push([name, ...said]),
  });
  const text = () => told.filter(([name]) => name === 'text').map(([, piece]) => piece).join('');
  return { told, answer, text };
}

function streamOf(chunks, { fails = false } = {}) {
  const left = [...chunks];
  return new ReadableStream({
    pull(controller) {
      if (left.length > 0) controller.enqueue(left.shift());
      else if (fails) controller.error(new TypeError('network error'));
      else controller.close();
    },
  });
}

function bytes(writes) {
  const encoder = new TextEncoder();
  return writes.map((write) => encoder.encode(write)).filter(({ length }) => length > 0);
}

function inBytes(chunks) {
  return chunks.flatMap((chunk) => [...chunk].map((byte) => new Uint8Array([byte])));
}

export const cases = {
  async 'every front end reads the whole text, and the end'({ dialects, written, text }) {
    for (const [name, dialect] of Object.entries(dialects)) {
      const noted = recorder();
      same(await dialect.read(streamOf(bytes(written[name])), noted.answer), true);
      same(noted.text(), text);
    }
  },

  async 'those that buffer read the same of single bytes'({ dialects, written }) {
    for (const name of ['octopus', 'strakly']) {
      const [whole, cut] = [recorder(), recorder()];
      await dialects[name].read(streamOf(bytes(written[name])), whole.answer);
      same(await dialects[name].read(streamOf(inBytes(bytes(written[name]))), cut.answer), true);
      same(cut.told, whole.told);
    }
  },

  async 'a stream that breaks off has no end'({ dialects, written }) {
    for (const [name, dialect] of Object.entries(dialects)) {
      for (const fails of [true, false]) {
        const chunks = bytes(written[name]).slice(0, -1);
        same(await dialect.read(streamOf(chunks, { fails }), recorder().answer), false);
      }
    }
  },

  async 'a split event is lost to those without a buffer: hence one write each'({ dialects, written }) {
    const noted = recorder();
    await dialects.guide.read(streamOf(inBytes(bytes(written.guide))), noted.answer);
    same(noted.told, []);
  },

  async 'silence ends a stream'({ reading }) {
    const silent = new ReadableStream({});
    const read = [];
    for await (const message of reading.messages(silent, 1)) read.push(message);
    same(read, []);
  },

  async 'tools, thoughts, actions and suggestions are told'({ dialects, written }) {
    const told = {};
    for (const [name, dialect] of Object.entries(dialects)) {
      const noted = recorder();
      await dialect.read(streamOf(bytes(written[name])), noted.answer);
      told[name] = noted.told.filter(([what]) => what !== 'text').map(([what]) => what);
    }
    same(told, {
      octopus: ['started', 'tool', 'toolEnded', 'completed'],
      guide: ['started', 'thinking', 'tool', 'toolEnded', 'suggestions', 'completed', 'saved'],
      opshub: ['started', 'toolNamed', 'progress', 'toolNamedEnded', 'completed'],
      strakly: [
        'started', 'toolsEnded', 'toolNamed', ...Array(3).fill('toolsEnded'), 'action',
        'suggestions', 'completed',
      ],
    });
  },
};
