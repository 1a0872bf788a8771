"""A scheduler whose loop is turned by hand, with namespaces that take time by the clock."""

from broker.auth import ANONYMOUS
from broker.codec import JSON
from broker.config import Config
from broker.errors import ERRORS
from broker.router import Router
from broker.scheduler import Scheduler
from broker.session import Session, Sessions
from plugins.open import OpenOptions, OpenPlugin

from .fakes import FakeClock, FakeWire, Timers, namespace


class Loop:
    """Runs what was called soon, one turn at a time."""

    def __init__(self):
        self.soon = []

    def call_soon(self, function):
        self.soon.append(function)

    def turn(self):
        ready, self.soon = self.soon, []
        for function in ready:
            function()

    def run(self):
        turns = 0
        while self.soon:
            self.turn()
            turns += 1
            assert turns < 100_000
        return turns


class Slow(OpenPlugin):
    """Takes some time for each event."""

    cost = 0.0004

    def validate(self, head, event):
        self.clock.now += self.cost


def scheduled(*names, clock=None, kind=Slow, **settings):
    """A scheduler with a namespace for each name, of a plugin of `kind`, and its loop."""
    clock = clock or FakeClock()
    loop = Loop()
    scheduler = Scheduler(clock, loop.call_soon)
    for name in names:
        plugin = kind(name, OpenOptions())
        plugin.clock = clock
        made = namespace(plugin, timers=Timers(clock), **settings)
        made.intake._wake = scheduler.wake
        scheduler.namespaces.append(made)
    return scheduler, loop


def session_on(scheduler, *namespaces):
    """A connection that reaches all of `namespaces`, and its socket."""
    wire = FakeWire()
    shared = Sessions(Config(servers={}, namespaces={}), scheduler, ERRORS)
    reach = Router({"s": namespaces}).reach(None)
    return Session(shared, wire, JSON, None, reach, ANONYMOUS), wire
