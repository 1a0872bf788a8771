"""Turns that end by themselves, on a clock of our own: nobody waits for ever."""

import msgspec
import pytest
from structlog.testing import capture_logs

from broker.plugin import Sender
from plugins.agent.chat import ChatPlugin
from plugins.agent.options import ChatOptions
from plugins.agent.status import StatusOptions, StatusPlugin

from .fakes import FakePublisher, LateEngine, Timers, namespace, publish, say

TURN = {"sessionId": "s", "turnId": "t", "agentId": "a"}
START = publish("agent.chat.turnStarted", {**TURN, "messageId": "m"})
END = publish("agent.chat.error", {
    "sessionId": "s", "turnId": "t", "code": "x", "message": "", "retryable": True,
})  # fmt: skip
CANCEL = publish("agent.chat.cancel", {"sessionId": "s", "turnId": "t"})


def begin(turn):
    return publish("agent.chat.turnStarted", {**TURN, "turnId": turn})


def token(index, id=0):
    body = {**TURN, "token": f"{index} ", "tokenIndex": index, "isLast": False}
    return publish("agent.chat.token", body, id)


def tool(name, **more):
    body = {"sessionId": "s", "turnId": "t", "toolCallId": "c", **more}
    return publish(f"agent.chat.{name}", body)


class Chat:
    """The namespace `agent.chat` on a clock that is moved by hand."""

    def __init__(self, engine=None):
        self.timers = Timers()
        plugin = ChatPlugin("agent.chat", ChatOptions())
        self.target = namespace(plugin, engine, self.timers)
        self.leases = self.target.leases

    def connect(self, name, client=None):
        publisher = FakePublisher(name)
        publisher.sender = Sender("anonymous", client, name)
        self.leases.join(publisher)
        return publisher

    def say(self, publisher, *messages):
        say(self.target, publisher, *messages)

    def told(self):
        """What the session has had, as (topic, the fields that tell the end)."""
        engine = self.target.engine
        events = engine.read("s", engine.floor("s"), 1000)
        bodies = [(e.topic.rpartition(".")[2], msgspec.json.decode(e.raw)) for e in events]
        return [
            (topic, body.get("code") or body.get("finishReason") or body.get("token"))
            for topic, body in bodies
        ]

    def last(self):
        engine = self.target.engine
        return msgspec.json.decode(engine.read("s", engine.floor("s"), 1000)[-1].raw)


def test_an_owner_that_is_lost_ends_its_turn():
    """After the grace period, the end of the text and `publisher_lost`; not before."""
    chat = Chat()
    owner = chat.connect("c1")
    chat.say(owner, START, token(0))
    chat.leases.leave(owner)
    chat.timers.pass_(9.9)
    assert len(chat.told()) == 2
    chat.timers.pass_(0.2)
    assert chat.told()[2:] == [("token", ""), ("error", "publisher_lost")]
    assert chat.last()["messageId"] == "m"
    assert chat.last()["retryable"] is True
    chat.timers.pass_(10_000)
    assert len(chat.told()) == 4
    assert not chat.timers.waiting


@pytest.mark.parametrize("before", [[], [START, END]], ids=["new", "after another"])
def test_a_turn_that_begins_behind_its_owners_end_has_a_grace_too(before):
    """What a connection had sent is handled after it is lost, where it waited in the queue."""
    chat = Chat()
    chat.timers.pass_(1000)
    owner = chat.connect("c1", "secret")
    chat.say(owner, *before)
    chat.leases.leave(owner)
    chat.timers.pass_(1)
    chat.say(owner, begin("u"))
    chat.timers.pass_(8.9)
    assert chat.told()[-1] == ("turnStarted", None)
    chat.timers.pass_(0.2)
    assert chat.told()[-1] == ("error", "publisher_lost")


def test_an_owner_is_lost_behind_what_it_has_said():
    """However long that waits to be handled: none of it is refused."""
    chat = Chat()
    owner = chat.connect("c1")
    chat.say(owner, START)
    for index in range(100):
        chat.target.enqueue(owner.ingress, token(index, index + 1))
    chat.leases.leave(owner, owner.ingress)
    chat.timers.pass_(60)
    chat.target.run(float("inf"))
    chat.timers.pass_(9.9)
    assert chat.told()[-1] == ("token", "99 ")
    assert not owner.errors
    chat.timers.pass_(0.2)
    assert chat.told()[-1] == ("error", "publisher_lost")


def test_a_turn_whose_end_could_not_be_stored_waits_for_its_owner():
    """Though it had nothing open when it left: it has a grace period to come back and repeat."""
    chat = Chat(LateEngine())
    engine = chat.target.engine
    chat.timers.pass_(1000)
    owner = chat.connect("c1", "secret")
    chat.say(owner, START)
    engine.commit(9)
    chat.say(owner, END)
    chat.leases.leave(owner)
    engine.fail()
    chat.timers.pass_(9.8)
    assert not engine.waiting
    back = chat.connect("c2", "secret")
    chat.say(back, END)
    engine.commit(9)
    assert [topic for topic, _ in chat.told()] == ["turnStarted", "error"]
    assert not back.errors


def test_the_same_client_takes_over_by_coming_back():
    """It need not publish: a model may think for longer than the grace period."""
    chat = Chat()
    chat.say(old := chat.connect("c1", "secret"), START, token(0))
    chat.leases.leave(old)
    chat.timers.pass_(9)
    new = chat.connect("c2", "secret")
    chat.timers.pass_(60)
    chat.say(new, token(1, 1))
    assert new.errors == []
    assert [word for _, word in chat.told()] == [None, "0 ", "1 "]


def test_a_second_connection_of_the_client_keeps_the_turn():
    """As long as one of them is there, the owner is."""
    chat = Chat()
    chat.say(old := chat.connect("c1", "secret"), START)
    chat.connect("c2", "secret")
    chat.leases.leave(old)
    chat.timers.pass_(60)
    assert len(chat.told()) == 1


@pytest.mark.parametrize("first", [token(1, 1), token(0, 1)], ids=["goes on", "repeats"])
def test_without_a_client_the_first_who_goes_on_takes_over(first):
    """Of the same principal, once the owner is gone; a repeat counts. Others are refused."""
    chat = Chat()
    owner, second, third = chat.connect("c1"), chat.connect("c2"), chat.connect("c3")
    chat.say(owner, START, token(0))
    chat.say(second, token(1, 9))
    assert second.errors == [(9, "turn_owned")]
    chat.leases.leave(owner)
    chat.say(second, first)
    assert len(second.errors) == 1
    chat.say(third, token(2, 1))
    assert third.errors == [(1, "turn_owned")]
    chat.timers.pass_(60)
    assert not [word for topic, word in chat.told() if topic == "error"]
    chat.leases.leave(second)
    chat.timers.pass_(11)
    assert chat.told()[-1] == ("error", "publisher_lost")


def test_a_turn_that_stalls_is_ended():
    """Two minutes after its last event; ten while a tool runs."""
    chat = Chat()
    owner = chat.connect("c1")
    chat.say(owner, START)
    for index in range(5):
        chat.timers.pass_(100)
        chat.say(owner, token(index, index + 1))
    chat.say(owner, tool("toolCallStarted", toolName="search", arguments={}))
    chat.timers.pass_(590)
    chat.say(owner, tool("toolCallCompleted"))
    assert not owner.errors
    chat.timers.pass_(119)
    assert "error" not in dict(chat.told())
    chat.timers.pass_(2)
    assert chat.told()[-1] == ("error", "turn_stalled")
    chat.say(owner, token(6, 9))
    assert owner.errors == [(9, "turn_closed")]


def test_a_cancel_reaches_the_owner_without_a_subscription():
    """Once, on the connection that runs the turn."""
    chat = Chat()
    owner, user = chat.connect("c1", "secret"), chat.connect("c2")
    chat.say(owner, START, token(0))
    chat.say(user, CANCEL)
    assert [m["topic"] for m in owner.told] == ["agent.chat.cancel"]
    assert user.told == []
    completed = {
        **TURN, "fullText": "0 ", "toolCallsUsed": [], "inputTokens": 1, "outputTokens": 1,
        "durationMs": 5, "finishReason": "cancelled",
    }  # fmt: skip
    chat.say(owner, publish("agent.chat.turnCompleted", completed, 1))
    chat.timers.pass_(1000)
    assert owner.errors == []
    assert chat.told()[-1] == ("turnCompleted", "cancelled")


def test_a_cancel_that_nobody_answers_ends_the_turn():
    """The broker completes it with the text so far, and what it has counted."""
    chat = Chat()
    owner, user = chat.connect("c1"), chat.connect("c2")
    chat.say(owner, START, token(0), token(1))
    chat.say(owner, tool("toolCallStarted", toolName="search", arguments={}))
    chat.say(user, CANCEL)
    chat.timers.pass_(9)
    chat.say(user, CANCEL)
    chat.timers.pass_(1.1)
    assert chat.told()[-2:] == [("token", ""), ("turnCompleted", "cancelled")]
    end = chat.last()
    assert (end["fullText"], end["outputTokens"], end["inputTokens"]) == ("0 1 ", 2, 0)
    assert end["toolCallsUsed"] == ["search"]
    assert end["durationMs"] == 10_000


def test_a_cancel_waits_for_an_owner_that_is_away():
    """It gets it when it comes back."""
    chat = Chat()
    owner, user = chat.connect("c1", "secret"), chat.connect("c2")
    chat.say(owner, START)
    chat.leases.leave(owner)
    chat.say(user, CANCEL)
    chat.timers.pass_(5)
    back = chat.connect("c3", "secret")
    assert [m["body"]["turnId"] for m in back.told] == ["t"]


def test_ended_turns_leave_nothing_behind():
    """However turns end and owners go, nobody is remembered and no timer is left."""
    chat = Chat()
    for n in range(20):
        owner = chat.connect(f"c{n}", f"secret{n}" if n % 2 else None)
        chat.say(owner, publish("agent.chat.turnStarted", {**TURN, "turnId": f"t{n}"}))
        if n % 3:
            chat.say(owner, publish("agent.chat.error", {
                "sessionId": "s", "turnId": f"t{n}", "code": "x", "message": "", "retryable": True,
            }))  # fmt: skip
        chat.leases.leave(owner)
    chat.timers.pass_(1000)
    chat.leases.leave(chat.connect("last"))
    presence = chat.target.plugin._presence
    assert not presence._streams
    assert len(presence._left) == 1
    assert not presence._connected
    assert not chat.timers.waiting


def test_a_token_behind_the_brokers_own_last_one_is_refused():
    """It has the same index, and another text: an ack would say that it was accepted."""
    chat = Chat()
    owner = chat.connect("c1")
    chat.say(owner, START, token(0), CANCEL)
    chat.timers.pass_(11)
    assert chat.told()[-2:] == [("token", ""), ("turnCompleted", "cancelled")]
    chat.say(owner, token(1, 1))
    assert owner.errors == [(1, "turn_closed")]
    chat.say(owner, token(0, 2))
    assert len(owner.errors) == 1


def test_an_agent_is_offline_when_its_last_connection_is_lost():
    """For longer than the grace period; `offline` of one among several only detaches it."""
    timers = Timers()
    target = namespace(StatusPlugin("agent.status", StatusOptions()), timers=timers)

    def status(publisher, word):
        say(target, publisher, publish("agent.status", {"agentId": "a", "status": word}, 1))

    def words():
        events = target.engine.read("a", 0, 99)
        return [msgspec.json.decode(e.raw)["status"] for e in events]

    one, two = FakePublisher("c1"), FakePublisher("c2")
    for publisher in (one, two):
        target.leases.join(publisher)
        status(publisher, "online")
    status(one, "offline")
    assert words() == ["online", "online"]
    target.leases.leave(one)
    timers.pass_(100)
    assert words() == ["online", "online"]
    target.leases.leave(two)
    timers.pass_(9)
    assert words() == ["online", "online"]
    timers.pass_(2)
    assert words() == ["online", "online", "offline"]
    timers.pass_(1000)
    assert len(words()) == 3


@pytest.mark.parametrize("tokens", [[(0, 2**63 - 1)], [(0, 2**63 - 2), (2**63 - 2, None)]])
def test_a_turn_has_no_more_tokens_than_can_be_counted(tokens):
    """The broker's own last one has its index as well: whatever is merged fits its type."""
    chat = Chat()
    owner = chat.connect("c1")
    chat.say(owner, START)
    for index, count in tokens:
        body = {**TURN, "token": "x", "tokenIndex": index, "isLast": False}
        more = {} if count is None else {"tokenCount": count}
        chat.say(owner, publish("agent.chat.token", body | more, 1))
    assert owner.errors == [(1, "bad_body")]
    chat.say(owner, CANCEL)
    chat.timers.pass_(11)
    streams, engine = chat.target.streams, chat.target.engine
    events = engine.read("s", engine.floor("s"), 100)
    for event in events:
        streams.decode(event)
    merged = chat.target.plugin.merge(events)
    for event in merged:
        msgspec.convert(msgspec.to_builtins(event.body), type(event.body))
    assert chat.told()[-1] == ("turnCompleted", "cancelled")


def test_a_stream_that_fails_when_it_is_due_holds_up_no_other():
    """The others' turns end in time; it is tried again, and logged by its name."""
    chat = Chat()
    owner = chat.connect("c1")
    for session in ("broken", "s"):
        chat.say(owner, publish("agent.chat.turnStarted", {**TURN, "sessionId": session}))
    plugin, broken = chat.target.plugin, chat.target.streams["broken"].head
    expire = plugin.expire

    def fails(state, now):
        if state is broken:
            raise ValueError("broken")
        return expire(state, now)

    plugin.expire = fails
    chat.leases.leave(owner)
    with capture_logs() as logs:
        chat.timers.pass_(11.5)
    assert chat.told()[-1] == ("error", "publisher_lost")
    assert {(log["event"], log["key"]) for log in logs} == {("plugin failed", "broken")}
    plugin.expire = expire
    chat.timers.pass_(2)
    assert not broken.open_turns()


@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize("engine", [None, LateEngine], ids=["at once", "later"])
def test_a_cancel_is_for_who_took_the_turn_over_by_a_repeat(engine, comes_back):
    """Which is not stored: also where what is stored says that the turn is another's."""
    chat = Chat(engine and engine())
    commit = (lambda count: None) if engine is None else chat.target.engine.commit
    first, user = chat.connect("c1"), chat.connect("user")
    chat.say(first, START, token(0))
    commit(9)
    chat.leases.leave(first)
    second = chat.connect("c2", "secret")
    chat.say(second, token(0, 1))
    if comes_back:
        chat.leases.leave(second)
    chat.say(user, CANCEL)
    commit(9)
    if comes_back:
        assert second.told == []
        second = chat.connect("c3", "secret")
    assert [told["topic"] for told in second.told] == ["agent.chat.cancel"]


def test_of_what_could_not_be_stored_nobody_is_the_owner():
    """Or work would go by turns that never were."""
    chat = Chat(LateEngine())
    plugin, engine = chat.target.plugin, chat.target.engine
    one, two = chat.connect("c1"), chat.connect("c2", "secret")
    chat.say(one, START, token(0))
    engine.commit(9)
    chat.say(one, publish("agent.chat.turnStarted", {**TURN, "turnId": "u"}))
    chat.say(two, publish("agent.chat.turnStarted", {**TURN, "turnId": "v"}))
    chat.leases.leave(one)
    chat.say(two, token(1))
    assert [plugin.load(each.sender) for each in (one, two)] == [1, 2]
    engine.fail()
    assert [plugin.load(each.sender) for each in (one, two)] == [1, 0]
    assert len(plugin._presence._streams) == 1
    chat.timers.pass_(11)
    engine.commit(9)
    assert chat.told()[-1] == ("error", "publisher_lost")


def test_who_could_not_be_attached_is_not():
    """The agent has nobody, and there is nothing to say when the connection is lost."""
    timers, engine = Timers(), LateEngine()
    target = namespace(StatusPlugin("agent.status", StatusOptions()), engine, timers)
    one = FakePublisher()
    target.leases.join(one)
    say(target, one, publish("agent.status", {"agentId": "a", "status": "online"}, 1))
    engine.fail()
    assert not target.plugin._presence._streams
    target.leases.leave(one)
    timers.pass_(100)
    assert not engine.waiting
