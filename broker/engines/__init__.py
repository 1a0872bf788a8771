"""Where events are stored and ordered: one engine instance per namespace.

`base` is the port. `memory` keeps everything in this process: a `log` for each stream. `sqlite`
does too, and stores it: `journal` is what stands in its `file`, with `wal` and `witness` to see
that this is whole; `rows` the encoding, `writer` the thread, `keeping` what becomes of commits.
"""
