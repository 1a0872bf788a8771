"""Work queues against what has to hold of every message, whatever its workers do."""

from collections import Counter

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from .fakes import publish, say
from .test_workers import WISH, Chat

GROUPS = ("workers", "others")
SESSIONS = ("s0", "s1", "s2")


class Workers(RuleBasedStateMachine):
    """Members come, go, come back, begin, decline and sleep in any order. At any time:

    - what is untaken has one job in a group, and nobody who is gone has it;
    - it is nobody's only while there is nobody who may have it;
    - nothing is given to anyone that is taken up or given up.

    In the end each message was refused, taken up, or given up with one error; each publish
    was answered once; and nothing is left.
    """

    def __init__(self):
        super().__init__()
        self.chat = Chat()
        self.groups = self.chat.target.groups
        self.connected = []  # (connection, group)
        self.seen = {}  # by connection: the messages that it was given
        self.names = 0
        self.asked = {}  # by (session, id): the publishes of it
        self.open_turns = []
        self.had = {}  # by place: its jobs, a step ago

    # ------------------------------------------------------------- what happens

    @rule(session=st.sampled_from(SESSIONS), id=st.integers(0, 5))
    def ask(self, session, id):
        """A message, or one of before again."""
        self.asked.setdefault((session, f"m{id}"), []).append(self.chat.ask(f"m{id}", session))

    @rule(client=st.sampled_from([None, "one", "two"]), group=st.sampled_from(GROUPS))
    def join(self, client, group):
        """A member, or one of before, whose last connection may not be known to be lost."""
        older = [one for one in self.connected if client and one[0].sender.client == client]
        self.names += 1
        new = self.chat.connect(f"c{self.names}", client)
        for one, _ in older:
            self.groups.lost(one.worker)  # it is superseded
        self.groups.join(group, WISH, new.worker)
        for one in older:
            self.lose_one(one)
        self.connected.append((new, group))
        self.seen[new] = []

    def lose_one(self, one):
        self.connected.remove(one)
        one[0].wire.open = False
        self.chat.lose(one[0])

    @precondition(lambda self: self.connected)
    @rule(data=st.data())
    def lose(self, data):
        self.lose_one(data.draw(st.sampled_from(self.connected)))

    @precondition(lambda self: self.connected)
    @rule(data=st.data())
    def leave(self, data):
        one = data.draw(st.sampled_from(self.connected))
        self.groups.leave(one[1], WISH, one[0].worker)
        self.connected.remove(one)
        self.read(one[0])

    @rule()
    def write(self):
        """Sockets take what there is."""
        for connection, group in self.connected:
            for message in self.read(connection):
                assert message["group"] == group
                assert self.is_untaken(message["key"], message["body"]["messageId"])

    def read(self, connection):
        events = [m for m in connection.sent() if m["op"] == "event"]
        self.seen[connection] += [(m["key"], m["body"]["messageId"]) for m in events]
        return events

    @precondition(lambda self: any(self.seen.values()))
    @rule(data=st.data(), declines=st.booleans())
    def begin(self, data, declines):
        """Whoever was given a message, however long ago, begins, or says that it will not."""
        givens = [(c, name) for c, names in self.seen.items() for name in names]
        connection, (session, id) = data.draw(st.sampled_from(givens))
        self.names += 1
        body = {"sessionId": session, "messageId": id}
        if declines:
            body |= {"code": "quota", "message": "", "retryable": False}
            say(self.chat.target, connection, publish("agent.chat.error", body))
        else:
            turn = {"sessionId": session, "turnId": f"t{self.names}"}
            say(self.chat.target, connection, publish("agent.chat.turnStarted", {
                **body, **turn, "agentId": "a",
            }))  # fmt: skip
            self.open_turns.append((connection, turn))

    @precondition(lambda self: self.open_turns)
    @rule(data=st.data())
    def end_turn(self, data):
        connection, turn = data.draw(st.sampled_from(self.open_turns))
        self.open_turns.remove((connection, turn))
        body = {**turn, "code": "x", "message": "", "retryable": False}
        say(self.chat.target, connection, publish("agent.chat.error", body))

    @rule(seconds=st.sampled_from([0.1, 1, 1.9, 2.1, 10, 29, 31]))
    def time_passes(self, seconds):
        self.chat.pass_(seconds)

    # ------------------------------------------------------------- what has to hold

    def is_untaken(self, session, id):
        stream = self.chat.target.streams.get(session)
        return stream is not None and (WISH[0], id) in stream.committed.untaken

    def jobs(self):
        return [job for jobs in self.groups._held._jobs.values() for job in jobs]

    @invariant()
    def untaken_messages_are_somebody_s(self):
        """Each has one job in a group; nobody who is not there has one."""
        untaken = {
            event.position
            for stream in self.chat.target.streams
            for event in self.chat.target.plugin.untaken(stream.committed)
        }
        jobs = self.jobs()
        assert {job.event.position for job in jobs} == untaken
        assert max(Counter((j.event.position, j.group) for j in jobs).values(), default=1) == 1
        for job in jobs:
            assert not job.done
            assert job in self.groups._held._limits
            if job.place is None:
                assert job in job.group.backlog
                assert not any(p.open and p.may_have(job) for p in job.group.places.values())
            elif not job.place.open:
                assert job.place in self.groups._away
            if not job.group.places:
                assert not any(g.could_have(job) for g in self.groups._groups.values())

    @invariant()
    def places_have_what_they_were_given(self):
        """A job is in the one place that it says; and who is gone is given nothing more."""
        groups = self.groups._groups.values()
        places = {*self.groups._away, *(p for group in groups for p in group.places.values())}
        had, self.had = self.had, {place: set(place.jobs()) for place in places}
        for place, jobs in self.had.items():
            assert all(job.place is place for job in jobs)
            assert place.open or jobs <= had[place]

    def teardown(self):
        """Nothing happens any more but time."""
        for _ in range(300):
            self.chat.pass_(1)
            self.write()
        chat = self.chat
        assert chat.is_clean()
        assert not chat.target.waiting
        [*_, last] = chat.answers()[0] or [0]
        assert last == max((n for ids in self.asked.values() for n in ids), default=0)
        assert chat.user.outbox.receipts == [chat.user.ingress.receipts]
        refused = [id for id, _ in chat.user.errors]
        assert {code for _, code in chat.user.errors} <= {"no_worker"}
        assert len(refused) == len(set(refused))
        for (session, id), ids in self.asked.items():
            ends = self.ends(session, id)
            assert ends["messages"] == (0 if set(ids) <= set(refused) else 1)
            if ends["messages"]:
                assert ends["begun"] or ends["given up"] == 1
        chat.timers.pass_(2000)
        assert not chat.timers.waiting
        assert not chat.target.plugin._presence._load

    def ends(self, session, id):
        """What the session has had of a message."""
        ends = Counter()
        engine = self.chat.target.engine
        for event in engine.read(session, engine.floor(session), 10_000):
            body = msgspec.json.decode(event.raw)
            if body.get("messageId") != id or (event.topic.endswith("error") and "turnId" in body):
                continue
            kind = event.topic.rpartition(".")[2]
            if kind == "userMessage":
                ends["messages"] += 1
            elif kind == "turnStarted" or body["code"] == "quota":
                ends["begun"] += 1
            else:
                ends["given up"] += 1
        return ends


Workers.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
test_every_message_comes_to_an_end = Workers.TestCase
