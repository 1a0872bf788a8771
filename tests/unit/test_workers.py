"""Work queues on a clock of our own: limits, losses, and what is left behind."""

import msgspec
import pytest
from structlog.testing import capture_logs

from broker import held
from broker.plugin import Sender
from plugins.agent.chat import ChatPlugin
from plugins.agent.options import ChatOptions

from .fakes import FakePublisher, LateEngine, Timers, namespace, publish, say

WISH = ("agent.chat.userMessage", None)


class Chat:
    """The namespace `agent.chat`, its workers, and a user."""

    def __init__(self, engine=None, **options):
        self.timers = Timers()
        plugin = ChatPlugin("agent.chat", ChatOptions(**options))
        self.target = namespace(plugin, engine, self.timers)
        self.user = self.connect("user")

    def connect(self, name, client=None):
        publisher = FakePublisher(name)
        publisher.sender = Sender("anonymous", client, name)
        self.target.leases.join(publisher)
        return publisher

    def worker(self, name, client=None, group="workers"):
        worker = self.connect(name, client)
        self.target.groups.join(group, WISH, worker.worker)
        return worker

    def lose(self, worker):
        self.target.leases.leave(worker)
        self.target.groups.lost(worker.worker)

    def ask(self, id="m", session="s"):
        body = {"sessionId": session, "messageId": id, "text": "hi"}
        number = self.user.ingress.receipts.taken + 1
        say(self.target, self.user, publish("agent.chat.userMessage", body, number))
        return number

    def start(self, worker, id="m", session="s"):
        body = {"sessionId": session, "turnId": f"t-{id}", "agentId": "a", "messageId": id}
        say(self.target, worker, publish("agent.chat.turnStarted", body, 1))

    def pass_(self, seconds):
        self.timers.pass_(seconds)
        self.target.run(float("inf"))

    def said(self, session="s"):
        """The codes of the errors of a session."""
        events = self.target.engine.read(session, self.target.engine.floor(session), 1000)
        bodies = [msgspec.json.decode(e.raw) for e in events if e.topic == "agent.chat.error"]
        return [(body["code"], body["messageId"]) for body in bodies]

    def answers(self):
        """What the user is told of its publishes."""
        told = self.user.sent()
        return [m["id"] for m in told if m["op"] == "ack"], self.user.errors

    def is_clean(self):
        """Whether nothing is left of any message."""
        groups, self_held = self.target.groups, self.target.groups._held
        backlogs = [g.backlog for g in (groups._orphans, *groups._groups.values())]
        return not (self_held._jobs or self_held._bytes or len(self_held) or any(backlogs))


def got(worker):
    return [m["body"]["messageId"] for m in worker.sent() if m["op"] == "event"]


def test_nobody_comes_in_time():
    """Two seconds, to the moment; the refusal is the only answer."""
    chat = Chat()
    id = chat.ask()
    chat.pass_(1.9)
    assert chat.answers() == ([], [])
    assert not chat.target.settled
    chat.pass_(0.2)
    assert chat.answers() == ([id], [(id, "no_worker")])
    assert chat.target.settled
    late = chat.worker("late")
    chat.pass_(1000)
    assert got(late) == []
    assert chat.is_clean()
    assert not chat.timers.waiting
    assert chat.user.outbox.receipts == [chat.user.ingress.receipts]


def test_a_worker_comes_in_time():
    """What waits is answered once, and nothing of the wait is left."""
    chat = Chat()
    ids = [chat.ask(f"m{n}") for n in range(3)]
    chat.pass_(1.9)
    worker = chat.worker("w")
    chat.pass_(0)
    assert chat.answers() == ([ids[-1]], [])
    assert got(worker) == ["m0", "m1", "m2"]
    assert chat.user.outbox.receipts == [chat.user.ingress.receipts]
    assert chat.target.intake.handled == 3


def test_a_message_without_an_id_waits_as_well():
    """And has no answer."""
    chat = Chat()
    body = {"sessionId": "s", "messageId": "m", "text": "hi"}
    say(chat.target, chat.user, publish("agent.chat.userMessage", body))
    worker = chat.worker("w")
    chat.pass_(0)
    assert got(worker) == ["m"]
    assert chat.answers() == ([], [])


def test_the_start_limit():
    """Thirty seconds for each of two, then the user is told."""
    chat = Chat()
    one = chat.worker("one")
    chat.ask()
    two = chat.worker("two")
    chat.pass_(29.9)
    assert (got(one), got(two)) == (["m"], [])
    chat.pass_(0.2)
    assert (got(one), got(two)) == ([], ["m"])
    chat.pass_(29.7)
    assert chat.said() == []
    chat.pass_(0.2)
    assert chat.said() == [("agent_unresponsive", "m")]
    chat.pass_(1000)
    assert (got(one), got(two)) == ([], [])
    assert chat.is_clean()
    assert not chat.timers.waiting


def test_a_turn_that_starts_ends_all_waiting():
    """In time: nobody else has the message, and no limit is left."""
    chat = Chat()
    one, two = chat.worker("one"), chat.worker("two")
    chat.ask()
    chat.pass_(29)
    assert got(one) == ["m"]
    chat.start(one)
    assert chat.is_clean()
    chat.pass_(60)
    assert (got(one), got(two)) == ([], [])
    assert chat.said() == []


def test_a_single_worker_that_does_not_begin():
    """It may still begin while another is waited for; then the user is told."""
    chat = Chat()
    worker = chat.worker("w")
    chat.ask("m0")
    assert got(worker) == ["m0"]
    chat.pass_(45)
    chat.start(worker, "m0")
    chat.ask("m1", "s1")
    assert got(worker) == ["m1"]
    chat.pass_(59)
    assert chat.said("s1") == []
    chat.pass_(2)
    assert chat.said() == []
    assert chat.said("s1") == [("agent_unresponsive", "m1")]
    assert got(worker) == []


def test_a_worker_that_is_lost_may_come_back():
    """For two seconds nobody else has its messages; then another has."""
    chat = Chat()
    one = chat.worker("c1", "one")
    chat.ask()
    two = chat.worker("c2", "two")
    chat.lose(one)
    chat.pass_(1.9)
    back = chat.worker("c3", "one")
    assert got(back) == ["m"]
    chat.pass_(5)
    assert got(two) == []
    chat.lose(back)
    chat.pass_(2.1)
    assert got(two) == ["m"]
    assert chat.target.groups.members == 1
    chat.start(two)
    chat.pass_(100)
    assert chat.is_clean()


def test_messages_while_the_only_worker_is_away():
    """They wait, as if there were none: it is not live. When it is back, it has them."""
    chat = Chat()
    one = chat.worker("c1", "one")
    chat.lose(one)
    id = chat.ask()
    assert chat.answers() == ([], [])
    back = chat.worker("c2", "one")
    chat.pass_(0)
    assert chat.answers() == ([id], [])
    assert got(back) == ["m"]


def test_the_limit_goes_on_over_a_reconnect():
    """A worker cannot keep a message by coming back again and again."""
    chat = Chat()
    worker = chat.worker("c0", "one")
    chat.ask()
    other = chat.worker("other")
    for n in range(1, 4):
        chat.pass_(9.9)
        chat.lose(worker)
        worker = chat.worker(f"c{n}", "one")
        assert got(worker) == ["m"]
        assert got(other) == []
    chat.pass_(0.5)
    assert got(other) == ["m"]


def test_a_message_that_kills_its_workers():
    """It is given up before it has gone through all of them."""
    chat = Chat()
    workers = [chat.worker(f"w{n}") for n in range(9)]
    chat.ask()
    given = []
    while not chat.said():
        [holder] = [w for w in workers if got(w)]
        given.append(holder)
        chat.lose(holder)
        workers.remove(holder)
    assert len(given) == 5
    assert chat.said() == [("agent_unresponsive", "m")]
    assert chat.is_clean()


def test_nobody_comes_for_a_message_whose_worker_is_lost():
    """It waits for as long as a worker might have taken; then the user is told."""
    chat = Chat()
    chat.lose(_ := chat.worker("w"))
    chat.worker("w2")
    chat.ask()
    [place] = chat.target.groups._groups["workers"].places.values()
    chat.target.groups.leave("workers", WISH, place.worker)
    chat.pass_(29)
    assert chat.said() == []
    chat.pass_(2)
    assert chat.said() == [("no_worker", "m")]
    assert chat.is_clean()


def test_a_group_that_is_lost_while_another_has_the_message():
    """Nothing is given twice: the other group's worker has it."""
    chat = Chat()
    one, two = chat.worker("one", group="g"), chat.worker("two", group="h")
    chat.ask()
    chat.lose(one)
    heir = chat.worker("heir", group="g")
    assert (got(two), got(heir)) == (["m"], [])
    chat.lose(two)
    assert got(heir) == ["m"]


def test_only_so_many_are_untaken(monkeypatch):
    """More wait as if nobody were there; room that is made in time lets them in."""
    monkeypatch.setattr(held, "MOST", 2)
    chat = Chat()
    worker = chat.worker("w")
    ids = []
    for n in range(4):
        ids.append(chat.ask(f"m{n}", f"s{n}"))
        chat.pass_(0.1)
    assert got(worker) == ["m0", "m1"]
    chat.start(worker, "m0", "s0")
    chat.pass_(1)
    assert chat.answers() == ([ids[1]], [])
    for _ in range(20):
        chat.pass_(0.1)
    assert got(worker) == ["m2"]
    assert chat.answers() == ([ids[3]], [(ids[3], "no_worker")])


def test_only_so_many_bytes_are_untaken(monkeypatch):
    """However few the messages."""
    monkeypatch.setattr(held, "MOST_BYTES", 100)
    chat = Chat()
    worker = chat.worker("w")
    for n in range(4):
        chat.ask(f"m{n}" + "x" * 30)
    assert len(got(worker)) < 4


def test_an_engine_that_commits_later():
    """A message is given once it is stored, and taken up once its turn is."""
    engine = LateEngine()
    chat = Chat(engine)
    one = chat.worker("one")
    chat.ask()
    assert got(one) == []
    engine.commit()
    assert got(one) == ["m"]
    chat.start(one)
    two = chat.worker("two")
    chat.lose(one)
    assert got(two) == ["m"]  # the turn may still be lost
    engine.commit()
    assert chat.is_clean()


def test_a_turn_that_could_not_be_stored():
    """Its message is as untaken as before."""
    engine = LateEngine()
    chat = Chat(engine)
    one = chat.worker("one")
    chat.ask()
    engine.commit()
    chat.start(one)
    engine.fail()
    two = chat.worker("two")
    chat.pass_(31)
    assert got(two) == ["m"]
    chat.start(two)
    engine.commit()
    assert chat.is_clean()


def test_giving_up_that_could_not_be_stored():
    """It is tried again; in the end it is said once."""
    engine = LateEngine()
    chat = Chat(engine)
    chat.worker("one")
    chat.ask()
    engine.commit()
    chat.pass_(61)
    assert engine.waiting
    engine.fail()
    assert chat.said() == []
    chat.pass_(31)
    engine.commit()
    assert chat.said() == [("agent_unresponsive", "m")]
    assert chat.is_clean()


def test_a_plugin_that_fails_to_say_so(monkeypatch):
    """It is logged, and everybody else goes on."""
    chat = Chat()
    worker = chat.worker("w")
    chat.ask("m0", "s0")
    assert got(worker) == ["m0"]

    def broken(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(ChatPlugin, "unanswered", broken)
    with capture_logs() as logs:
        chat.pass_(60)
    assert "plugin failed" in [entry["event"] for entry in logs]
    monkeypatch.undo()
    chat.ask("m1", "s1")
    assert got(worker) == ["m1"]
    chat.pass_(100)
    assert chat.said("s0") == [("agent_unresponsive", "m0")]
    assert chat.said("s1") == [("agent_unresponsive", "m1")]
    assert chat.is_clean()


def test_only_so_many_of_one_session_are_untaken():
    """One user cannot fill what all of them share, and is told so at once, since a worker is
    there; the others' messages are taken."""
    chat = Chat()
    worker = chat.worker("w")
    ids = [chat.ask(f"m{n}") for n in range(102)]
    chat.ask("other", "s2")
    assert got(worker) == [f"m{n}" for n in range(100)] + ["other"]
    assert chat.answers() == ([ids[-1] + 1], [(id, "rate_limited") for id in ids[100:]])
    chat.start(worker, "m0")
    for name in ("m100", "m101"):
        chat.ask(name)
    assert got(worker) == ["m100"]
    assert len(chat.user.errors) == 3


@pytest.mark.parametrize("wishes", [1, 2])
def test_a_worker_that_comes_back_for_less(wishes):
    """What it does not ask for again is another's, after a while."""
    chat = Chat()
    groups = chat.target.groups
    one = chat.connect("c1", "one")
    for key in ("s0", "s1"):
        groups.join("workers", (WISH[0], key), one.worker)
    for n in range(2):
        chat.ask(f"m{n}", f"s{n}")
    two = chat.worker("two")
    back = chat.connect("c2", "one")
    for key in ("s0", "s1")[:wishes]:
        groups.join("workers", (WISH[0], key), back.worker)
    assert got(back) == ["m0", "m1"][:wishes]
    chat.lose(one)  # only now it is noticed
    chat.pass_(2.1)
    assert got(two) == ["m0", "m1"][wishes:]
    assert groups.members == 2
