"""The work queues of a namespace: each event that a group wants goes to one of its members.

    delivered → Group.note → the member that is to have it, or the backlog while all are full
              → Place.take → its socket

A group is named within its namespace, and there while somebody has a place in it. A
member's place is its identity's: one whose connection is lost has a while to come back to
it, and then finds what it was given. After that, what it has not taken up passes on.

For a plugin with `work`, what is held is what its state says is untaken. So it outlives a
restart, as a stream does, and goes to whoever comes first.
"""

from collections.abc import Callable, Sequence
from typing import Any

import structlog

from broker.clock import CallLater, Clock
from broker.config import Namespace
from broker.deadlines import Timeouts
from broker.event import Event
from broker.fanout import Fanout
from broker.held import Held
from broker.plugin import Plugin
from broker.retained import Retained
from broker.streams import Streams
from broker.work import Group, Job, Place, Wish, Worker

log = structlog.get_logger(__name__)

TRIES = 2
"""How many may have had a job for too long, or LOSSES may be lost with it, before it is
given up."""
LOSSES = 5


class Groups:
    """See the module's text.

    Args:
        say: publishes events of one stream in the broker's name.

    Attributes:
        vacant: called when a member has joined.
    """

    def __init__(
        self,
        settings: Namespace,
        plugin: Plugin[Any],
        streams: Streams,
        retained: Retained,
        fanout: Fanout,
        clock: Clock,
        call_later: CallLater,
        say: Callable[[str, Sequence[Event]], None],
    ) -> None:
        self.vacant: Callable[[], None] = lambda: None
        self._weight = settings.weight
        self._most = settings.history.events
        self._plugin = plugin
        self._streams = streams
        self._retained = retained
        self._readers = fanout.subscriptions
        self._clock = clock
        self._call_later = call_later
        self._say = say
        self._groups: dict[str, Group] = {}
        self._orphans = self._group("")  # what is left of groups: it has no places
        self._held = Held(plugin, streams, clock, call_later, self._overdue)
        self._away = Timeouts(clock, call_later, plugin.worker_wait, self._not_back)
        plugin.attended = self.attended

    @property
    def members(self) -> int:
        return sum(len(group.places) for group in self._groups.values())

    @property
    def untaken(self) -> int:
        """How many jobs are held, by somebody or for somebody to come."""
        return len(self._held)

    def attended(self, topic: str, key: str) -> bool:
        """Whether there is a member that would be given such an event now."""
        return not self._held.full and any(g.attends(topic, key) for g in self._groups.values())

    def restore(self) -> None:
        """After a restart: what is untaken is for whoever comes."""
        for stream in self._streams:
            for event in self._plugin.untaken(stream.committed):
                job = self._held.add(self._orphans, event)
                if job is not None:
                    self._orphans.backlog[job] = None

    def settle(self, key: str) -> None:
        """Events of a stream were delivered by which some of its jobs may be done."""
        self._held.settle(key)

    # ------------------------------------------------------------- members

    def join(self, name: str, wish: Wish, worker: Worker) -> None:
        """Let a connection have its part of what it wishes for."""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = self._group(name)
        place = group.places.get(worker.member)
        if place is None or place.worker.outbox is not worker.outbox:
            place = self._seat(group, worker, place)
        if wish in place.wishes:
            return
        place.wish(wish)
        self._readers.add(*wish, group)
        if place.older is not None:
            for job in [job for job in place.older.jobs() if place.may_have(job)]:
                place.older.drop(job)
                self._held.tell(job, again=True)
                place.put(job)
        group.refill(place)
        for job in [job for job in self._orphans.backlog if place.may_have(job)]:
            del self._orphans.backlog[job]
            job.group = group
            self._give(job)
        self.vacant()

    def leave(self, name: str, wish: Wish, worker: Worker) -> None:
        """Undo one `join`. What was given and not taken up passes on at once."""
        place = self._place(name, worker)
        if place is None:
            return
        place.wish(wish, over=True)
        self._readers.remove(*wish, place.group)
        if not place.wishes:
            self._remove(place)
            return
        for job in [job for job in place.jobs() if not place.may_have(job)]:
            place.drop(job)
            self._give(job)
        place.group.forget_unwanted()

    def lost(self, worker: Worker) -> None:
        """A connection has ended. One that gave its `client` may come back for a while."""
        for name in list(self._groups):
            place = self._place(name, worker)
            if place is None or place.gone:
                continue
            if worker.sender.client is None:
                self._remove(place, lost=True)
            else:
                place.gone = True
                self._away.add(place)

    def _group(self, name: str) -> Group:
        return Group(name, self._retained.cursor, self._begin)

    def _place(self, name: str, worker: Worker) -> Place | None:
        """A connection's place, unless a later one has it."""
        group = self._groups.get(name)
        place = None if group is None else group.places.get(worker.member)
        return place if place is not None and place.worker.outbox is worker.outbox else None

    def _seat(self, group: Group, worker: Worker, older: Place | None) -> Place:
        """A place for a connection, instead of that of the member's last one."""
        place = Place(group, worker, self._weight)
        if older is not None:
            self._end(older)
            self._away.add(older)  # as long as there is something that the new one did not want
            place.older = older
        group.places[worker.member] = place
        return place

    def _end(self, place: Place) -> None:
        """Let a place have nothing more."""
        place.gone = True
        for wish in list(place.wishes):
            self._readers.remove(*wish, place.group)
            place.wish(wish, over=True)

    def _not_back(self, place: Place) -> None:
        """A member was lost, and has not come back in time; or has, but not for all it had."""
        if place.group.places.get(place.worker.member) is place:
            self._remove(place, lost=True)
        else:
            self._pass_on(place)

    def _remove(self, place: Place, *, lost: bool = False) -> None:
        group = place.group
        del group.places[place.worker.member]
        self._end(place)
        if group.places:
            group.forget_unwanted()
        else:
            del self._groups[group.name]
            for job in list(group.backlog):
                del group.backlog[job]
                self._give(job)
        self._pass_on(place, lost=lost)

    def _pass_on(self, place: Place, *, lost: bool = False) -> None:
        """Give what a place has to others."""
        self._away.discard(place)
        if place.older is not None:
            self._pass_on(place.older)
            place.older = None
        for job in list(place.jobs()):
            place.drop(job)
            job.losses += lost
            if job.losses < LOSSES:
                self._give(job)
            else:
                self._give_up(job)

    # ------------------------------------------------------------- jobs

    def _begin(self, group: Group, event: Event) -> None:
        if event.topic in self._plugin.work:
            job = self._held.add(group, event)
            if job is not None:
                group.give(job, self._held.favourite(job), self._load)
        else:
            job = Job(group, event, held=False)
            group.give(job, None, self._load)
            if job.place is None:
                self._check(group)

    def _give(self, job: Job) -> None:
        """Let another have a job that is nobody's any more; its time begins anew."""
        group = self._groups.get(job.group.name)
        if group is None and job.held and self._held.is_alone(job):
            group = next((g for g in self._groups.values() if g.could_have(job)), None)
        if group is not None:
            job.group = group
            if job.held:
                self._held.pass_on(job)
            group.give(job, self._held.favourite(job) if job.held else None, self._load)
        elif job.held and self._held.is_alone(job):
            job.group = self._orphans
            self._orphans.backlog[job] = None
            self._held.begin(job)
        elif job.held:
            self._held.close(job)  # another group has it as well

    def _load(self, place: Place) -> int:
        return place.load + self._plugin.load(place.worker.sender)

    # ------------------------------------------------------------- what comes to nothing

    def _overdue(self, job: Job) -> None:
        """Whoever has a job has not taken it up; or nobody came for it."""
        place = job.place
        state = self._streams[job.event.key].committed
        if place is not None and self._plugin.is_at_work(state, job.event):
            self._held.begin(job)
            return
        if place is not None:
            log.info("work not taken up", connection=place.worker.sender.connection)
            job.tried.add(place.identity)
            place.drop(job)
            if len(job.tried) < TRIES:
                self._give(job)
                return
        self._give_up(job)

    def _give_up(self, job: Job) -> None:
        event = job.event
        head = self._streams[event.key].head
        if any(other.position == event.position for other in self._plugin.untaken(head)):
            tried = bool(job.tried) or job.losses >= LOSSES
            now = self._clock.unix_ms()
            try:
                said = list(self._plugin.unanswered(head, event, now, tried=tried))
            except Exception:  # the others must go on, whatever this is
                log.exception("plugin failed")
                said = []
            if said:
                self._say(event.key, said)
        if not job.done:
            self._held.begin(job)  # that is not stored yet: look again later

    def _check(self, group: Group) -> None:
        """End the members of a group of which more waits than is retained: all are behind."""
        first = next(iter(group.backlog)).event
        gone = first.position <= self._retained.floor(first.key)
        if (gone or len(group.backlog) > self._most) and not group.ending:
            group.ending = True
            self._call_later(0.0, lambda: self._end_slow(group))  # its readers are being told

    def _end_slow(self, group: Group) -> None:
        log.warning("work queue overflows", members=len(group.places), jobs=len(group.backlog))
        jobs = [*group.backlog, *(job for p in group.places.values() for job in p.jobs())]
        for job in jobs:
            if not job.held:
                group.backlog.pop(job, None)
                if job.place is not None:
                    job.place.drop(job)
        for place in list(group.places.values()):
            if place.open:
                place.worker.outbox.too_slow()
            self._remove(place)
