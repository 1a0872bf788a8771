"""A timer that stands still until it is moved."""


class Timer:
    """Runs what is due when it is told to."""

    def __init__(self):
        self.now = 0.0
        self.due = []

    def call_later(self, delay, function):
        self.due.append((self.now + delay, function))

    def advance(self, seconds):
        end = self.now + seconds
        while True:
            ready = [entry for entry in self.due if entry[0] <= end + 1e-9]
            if not ready:
                break
            entry = min(ready, key=lambda e: e[0])
            self.due.remove(entry)
            self.now = entry[0]
            entry[1]()
        self.now = end
