"""What the package's description cannot say: the modules that every token passes are compiled.

They are plain typed Python, and run as such where there is no C compiler; only slower.
(docs/decisions/0014-compiled.md)
"""

import sys
import warnings

from setuptools import setup

COMPILED = [
    "broker/bodies.py",
    "broker/codec.py",
    "broker/engines/base.py",
    "broker/engines/gathering.py",
    "broker/engines/log.py",
    "broker/engines/memory.py",
    "broker/engines/rows.py",
    "broker/engines/sqlite.py",
    "broker/envelope.py",
    "broker/event.py",
    "broker/fanout.py",
    "broker/framing.py",
    "broker/ingress.py",
    "broker/lane.py",
    "broker/names.py",
    "broker/namespace.py",
    "broker/outbox.py",
    "broker/queue.py",
    "broker/retained.py",
    "broker/rollup.py",
    "broker/scheduler.py",
    "broker/session.py",
    "broker/streams.py",
    "broker/subscriptions.py",
    "broker/ties.py",
    "broker/transports/caller.py",
    "broker/transports/flow.py",
    "broker/transports/frames.py",
    "broker/transports/gateway.py",
    "broker/transports/sse.py",
    "broker/transports/websocket.py",
    "broker/transports/writer.py",
    "broker/wishes.py",
    "plugins/agent/answering.py",
    "plugins/agent/merging.py",
    "plugins/agent/rules.py",
    "plugins/agent/sessions.py",
    "plugins/agent/turns.py",
]


def extensions():
    """The modules as extensions; none where they cannot be made, or are not asked for."""
    if not {"build_ext", "bdist_wheel", "editable_wheel"} & set(sys.argv):
        return []
    try:
        from mypyc.build import mypycify

        made = mypycify(COMPILED, opt_level="2", debug_level="0", group_name="edgestream")
    except (ImportError, SystemExit) as error:  # what mypy has to say, it has printed
        warnings.warn(f"edgestream is not compiled: {error}", stacklevel=1)
        return []
    for extension in made:
        extension.optional = True  # without a C compiler they stay as they are
    return made


setup(ext_modules=extensions())
