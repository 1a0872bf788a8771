"""The jobs of a namespace that wait until its plugin's state says that they are taken up."""

from collections.abc import Callable
from typing import Any

from broker.clock import CallLater, Clock
from broker.deadlines import Timeouts
from broker.event import Event
from broker.plugin import Plugin
from broker.streams import Streams
from broker.work import Group, Job

MOST = 10_000
MOST_BYTES = 64 << 20
"""How many jobs, and bytes of events, may be held before publishes of `Plugin.work` wait."""


class Held:
    """Jobs by stream, and how long each may take.

    Args:
        overdue: called with a job that was not taken up in time.
    """

    def __init__(
        self,
        plugin: Plugin[Any],
        streams: Streams,
        clock: Clock,
        call_later: CallLater,
        overdue: Callable[[Job], None],
    ) -> None:
        self._plugin = plugin
        self._streams = streams
        self._jobs: dict[str, list[Job]] = {}
        self._bytes = 0
        self._limits = Timeouts(clock, call_later, plugin.start_limit, overdue)

    def __len__(self) -> int:
        return len(self._limits)

    @property
    def full(self) -> bool:
        return len(self._limits) >= MOST or self._bytes >= MOST_BYTES

    def add(self, group: Group, event: Event) -> Job | None:
        """A job of an event, unless that is taken up already."""
        if event.position not in self._untaken(event.key):
            return None
        job = Job(group, event, held=True)
        self._jobs.setdefault(event.key, []).append(job)
        self._bytes += len(event.raw)
        self.begin(job)
        self.tell(job, again=False)
        return job

    def begin(self, job: Job) -> None:
        """Its time begins, or begins anew."""
        self._limits.add(job)

    def pass_on(self, job: Job) -> None:
        """Another is to have it, and its time begins anew."""
        self.begin(job)
        self.tell(job, again=True)

    def tell(self, job: Job, *, again: bool) -> None:
        """Let the plugin know that a job is given to somebody, before they have it."""
        if job.held:
            state = self._streams[job.event.key].committed
            self._plugin.given(state, job.event, again=again)

    def settle(self, key: str) -> None:
        """Close the jobs of a stream that are taken up, or given up, by now."""
        if key in self._jobs:
            untaken = self._untaken(key)
            for job in list(self._jobs[key]):
                if job.event.position not in untaken:
                    self.close(job)

    def close(self, job: Job) -> None:
        """Nothing is to be done with it any more."""
        job.done = True
        if job.place is not None:
            job.place.drop(job)
        job.group.backlog.pop(job, None)
        self._limits.discard(job)
        self._bytes -= len(job.event.raw)
        same = self._jobs[job.event.key]
        same.remove(job)
        if not same:
            del self._jobs[job.event.key]

    def is_alone(self, job: Job) -> bool:
        """Whether no other group has its event."""
        return all(j is job or j.event is not job.event for j in self._jobs[job.event.key])

    def favourite(self, job: Job) -> str | None:
        """The identity of who has another event of its stream, or had the last one."""
        for other in reversed(self._jobs[job.event.key]):
            if other.group is job.group and other.place is not None:
                return other.place.identity
        sender = self._plugin.preferred(self._streams[job.event.key].committed)
        return None if sender is None else sender.identity

    def _untaken(self, key: str) -> set[int]:
        state = self._streams[key].committed
        return {event.position for event in self._plugin.untaken(state)}
