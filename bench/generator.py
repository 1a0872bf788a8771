"""The generator's process: a `Load` on standard input, its `Result` on standard output."""

import gc
import os
import resource
import sys

import msgspec

from bench.idle import Idle
from bench.peer import Refused
from bench.plan import Load, Result
from bench.sessions import Sessions


def main() -> None:
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    if load.core is not None:
        os.sched_setaffinity(0, {load.core})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()  # nothing here is cyclic, and a collection would look like latency
    try:
        result = (Idle(load) if load.scenario == "idle" else Sessions(load)).run()
    except (OSError, Refused) as error:
        result = Result(problems=[f"the generator stopped: {error}"])
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
