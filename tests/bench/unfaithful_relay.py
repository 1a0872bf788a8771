"""The naive relay, but for one fault in each session: what the bench must notice."""

import json
import sys

import uvloop

from bench.rivals.naive import Relay, run


class Unfaithful(Relay):
    """Commits `fault` on the token 42 of every session."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.held: dict[str, str] = {}

    def deliver(self, topic: str, key: str, event: str) -> None:
        body = json.loads(event)["body"]
        if body.get("tokenIndex") != 42:
            super().deliver(topic, key, event)
            if key in self.held:
                super().deliver(topic, key, self.held.pop(key))
        elif self.fault == "repeat":
            super().deliver(topic, key, event)
            super().deliver(topic, key, event)
        elif self.fault == "reorder":
            self.held[key] = event
        elif self.fault == "alter":
            super().deliver(topic, key, event.replace(body["token"], " hm"))
        elif self.fault == "misdeliver":
            for _, other in self.subscribers:
                super().deliver(topic, other, event)


if __name__ == "__main__":
    uvloop.run(run(Unfaithful(sys.argv[1]), int(sys.argv[2])))
