"""Where events are stored and ordered: one engine instance per namespace.

`base` is the port; `memory` keeps everything in this process.
"""
