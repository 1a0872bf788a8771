"""Every token of every session, sent and received: the account that must balance."""

from array import array

from bench.wire import Body, text

MOST_PROBLEMS = 20


class Ledger:
    """What was sent and what has come, session by session.

    The hot loop reads and writes `sent`, `expected` and `stamps` itself.

    Attributes:
        sent: tokens published in each session.
        expected: the index of each session's next token.
        stamps: when each token of each session was published, in ns.
        latencies: publish to receive of each token received, in ns.
    """

    def __init__(self, sessions: int) -> None:
        self.sent = [0] * sessions
        self.expected = [0] * sessions
        self.stamps: list[list[int]] = [[] for _ in range(sessions)]
        self.ended = [False] * sessions
        self.latencies = array("q")
        self.received = 0
        self.merged = 0
        self.problems: list[str] = []
        self.problem_count = 0

    def problem(self, what: str) -> None:
        """Note why the run fails; of many, the first few are told."""
        self.problem_count += 1
        if self.problem_count <= MOST_PROBLEMS:
            self.problems.append(what)
        elif self.problem_count == MOST_PROBLEMS + 1:
            self.problems.append("… and more")

    def take(self, session: int, name: str, body: Body, now: int) -> None:
        """Account for one event that reached the subscriber of `session`."""
        expected = self.expected[session]
        first, count = body.tokenIndex, body.tokenCount
        if body.sessionId != name:
            self.problem(f"{name}: got a token of {body.sessionId!r}")
            return
        if first != expected:
            kind = "lost before" if first > expected else "repeated or late:"
            self.problem(f"{name}: {kind} token {first}, expected {expected}")
        stop = first + count
        if count < 1 or first < 0 or stop > self.sent[session]:
            self.problem(f"{name}: tokens {first}+{count} were never sent")
            return
        content = text(first, count)
        if body.isLast:
            self.ended[session] = True
            content = text(first, count - 1)
        if body.token != content:
            self.problem(f"{name}: token {first} says {body.token!r}, not {content!r}")
        self.received += count
        if count > 1:
            self.merged += count
        stamps = self.stamps[session]
        self.latencies.extend([now - stamps[index] for index in range(first, stop)])
        self.expected[session] = max(expected, stop)

    def complete(self) -> bool:
        return all(self.ended) and self.expected == self.sent

    def reconcile(self) -> None:
        """Add what is missing, at the end, to the problems."""
        for session, (sent, expected) in enumerate(zip(self.sent, self.expected, strict=True)):
            if sent != expected:
                self.problem(
                    f"session {session}: {sent} sent, the last received was {expected - 1}"
                )
            elif not self.ended[session]:
                self.problem(f"session {session}: isLast never came")
        if sum(self.sent) != self.received:
            self.problem(f"{sum(self.sent)} tokens sent, {self.received} received")
