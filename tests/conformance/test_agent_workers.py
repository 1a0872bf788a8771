"""What users say goes to one worker, is taken up by a turn, and is never lost on the way."""

from contextlib import AsyncExitStack

import pytest

from .agent import CHAT, TURN, completed, started, token
from .client import connect

ASK, START, DONE, ERROR = (
    CHAT + name for name in ("userMessage", "turnStarted", "turnCompleted", "error")
)
SECRET = "0123456789abcdef"
SOON = 0.05
"""A limit that a test means to reach; others are the shipped ones, which none reaches."""


def message(id="m", session="s", **more):
    return {"sessionId": session, "messageId": id, "text": "hi", **more}


def impatient(**options):
    return {"namespaces": {"agent.chat": {"options": options}}}


@pytest.fixture
async def workers(site, codec):
    """Opens connections that have joined the group `workers`."""
    async with AsyncExitStack() as stack:

        async def join(url=site.ws, group="workers", topic=ASK, **more):
            worker = await stack.enter_async_context(connect(url, codec))
            await worker.subscribe(topic, group=group, **more)
            return worker

        yield join


async def asked(worker):
    """The ids of the messages that a worker has been given since this was asked."""
    given = [m for m in await worker.barrier() if m["op"] == "event" and "group" in m]
    return [m["body"]["messageId"] for m in given]


async def given(worker):
    """The id of the next message that a worker is given."""
    while True:
        event = await worker.get("event")
        if "group" in event:
            return event["body"]["messageId"]


async def test_a_message_goes_to_one_worker_and_to_every_reader(workers, other):
    """The worker's says its group; the others' are as ever."""
    one, two = await workers(), await workers()
    await other.subscribe(ASK)
    await other.publish(ASK, message())
    read = await other.get("event")
    assert "group" not in read
    [event] = [m for w in (one, two) for m in await w.barrier() if m["op"] == "event"]
    assert event == {**read, "group": "workers"}


# ----------------------------------------------------------------- nobody is there


async def test_without_a_worker_a_message_is_refused(start, codec):
    """`no_worker`, after a while; nothing is stored, and the same may come again."""
    site = await start(**impatient(worker_wait=SOON))
    async with connect(site.ws, codec) as user:
        await user.subscribe(CHAT + ">")
        for topic, body in (
            (ASK, message()),
            (CHAT + "userAudio", {
                "sessionId": "s", "messageId": "m", "contentType": "audio/webm", "size": 9,
                "url": "/audio/1",
            }),
        ):  # fmt: skip
            error = await user.refused(topic, body)
            assert (error["code"], error["retryable"]) == ("no_worker", True)
            assert error["topic"] == topic
        events, _ = await user.replay(CHAT + ">", replay="history")
        assert events == []
        await user.subscribe(ASK, group="workers")
        await user.publish(ASK, message())
        assert await asked(user) == ["m"]


async def test_a_worker_that_comes_in_time(site, workers, other):
    """What waits is accepted in order, and goes to it."""
    ids = [await other.ask("publish", topic=ASK, body=message(f"m{n}")) for n in range(5)]
    assert [m for m in await other.barrier() if m["op"] in ("ack", "error")] == []
    worker = await workers()
    await other.acked(ids[-1])
    assert await asked(worker) == [f"m{n}" for n in range(5)]


async def test_what_comes_behind_a_message_that_waits(workers, other):
    """It is accepted and delivered at once; only its acknowledgement waits."""
    await other.subscribe(CHAT + ">")
    await other.publish(START, started())
    ids = [
        await other.ask("publish", topic=CHAT + "token", body=token(0)),
        await other.ask("publish", topic=ASK, body=message()),
        await other.ask("publish", topic=CHAT + "token", body=token(1)),
        await other.ask("publish", topic="agent.status", body={
            "agentId": "a", "status": "online",
        }),
    ]  # fmt: skip
    await other.acked(ids[0])
    events = [m["topic"] for m in await other.barrier() if m["op"] == "event"]
    assert events == [START, CHAT + "token", CHAT + "token"]
    await workers()
    await other.acked(ids[-1])
    assert (await other.get("event"))["topic"] == ASK


async def test_an_ack_behind_a_message_that_was_refused(start):
    """The error comes first; then the ack covers what was behind it."""
    site = await start(**impatient(worker_wait=SOON))
    async with connect(site.ws) as user:
        id = await user.ask("publish", topic=ASK, body=message())
        last = await user.ask("publish", topic=START, body=started())
        first = await user.next()
        assert (first["op"], first["code"], first["id"]) == ("error", "no_worker", id)
        assert await user.next() == {"op": "ack", "id": last}


async def test_only_so_many_messages_wait(start):
    """More are refused at once: they would wait for ever otherwise, or fill the memory."""
    site = await start(namespaces={"agent.chat": {
        "queue": {"messages": 3}, "options": {"worker_wait": 1000},
    }})  # fmt: skip
    async with connect(site.ws) as user, connect(site.ws) as worker:
        for n in range(3):
            await user.ask("publish", topic=ASK, body=message(f"m{n}"))
        error = await user.refused(ASK, message("m3"))
        assert error["code"] == "no_worker"
        await worker.subscribe(ASK, group="workers")
        assert [await given(worker) for _ in range(3)] == ["m0", "m1", "m2"]
        await user.acked(4)


async def test_a_user_who_leaves_while_a_message_waits(site, workers):
    """It was not acknowledged; it is accepted all the same once somebody is there."""
    async with connect(site.ws) as user:
        await user.ask("publish", topic=ASK, body=message())
        await user.barrier()
    worker = await workers()
    assert await given(worker) == "m"


async def test_a_worker_for_one_session(workers, other):
    """Is one for that session alone."""
    worker = await workers(key="s")
    waiting = await other.ask("publish", topic=ASK, body=message("other", session="s2"))
    await other.ask("publish", topic=ASK, body=message("mine"))
    assert await given(worker) == "mine"
    assert [m for m in await other.barrier() if m["op"] in ("ack", "error")] == []
    everyone = await workers()
    await other.acked(waiting)
    assert await asked(everyone) == ["other"]
    assert await asked(worker) == []


async def test_a_pattern_is_a_worker_too(workers, other):
    """It asked for everything: it has what nobody has to take up as well."""
    worker = await workers(topic="agent.chat.*", group="everything")
    await other.publish(ASK, message())
    await other.publish(START, started(messageId="m"))
    topics = [m["topic"] for m in await worker.barrier() if m["op"] == "event"]
    assert topics == [ASK, START]


# ----------------------------------------------------------------- repeats


async def test_a_repeated_message_is_given_once(workers, other):
    """While it waits, while it is untaken, once it is answered, and when nobody is there."""
    for _ in range(2):
        await other.ask("publish", topic=ASK, body=message())
    worker = await workers()
    await other.acked(2)
    await other.publish(ASK, message())
    assert await asked(worker) == ["m"]
    await worker.publish(START, started(messageId="m"))
    await worker.publish(DONE, completed())
    await worker.socket.close()
    await other.publish(ASK, message())
    assert await asked(await workers()) == []


async def test_a_turn_that_was_there_before_its_message(workers, other):
    """A worker restores a turn that the broker lost, and then the message is repeated."""
    worker = await workers()
    await worker.publish(START, started(messageId="m"))
    await other.publish(ASK, message())
    assert await asked(worker) == []


async def test_a_second_turn_for_a_message(workers, other):
    """The first one has taken it up; who takes it twice just has another turn."""
    worker, rival = await workers(), await workers()
    await other.publish(ASK, message())
    for turn in ("t1", "t2"):
        await worker.publish(START, started(turn, messageId="m"))
    await worker.socket.close()
    await other.publish(ASK, message("m2", session="s2"))
    assert await asked(rival) == ["m2"]


# ----------------------------------------------------------------- whose it is


async def test_the_least_loaded_worker_has_the_next_message(workers, other):
    """Load is open turns, and messages that were given and are not begun."""
    one, two, three = [await workers() for _ in range(3)]
    for n in range(2):
        await one.publish(START, started(f"t{n}", session=f"busy{n}"))
    await two.publish(START, started("t", session="busy"))
    for n in range(3):
        await other.publish(ASK, message(f"m{n}", session=f"s{n}"))
    assert (await asked(three))[:1] == ["m0"]
    assert len(await asked(two)) == 1
    for n in range(2):
        await one.publish(DONE, completed(f"t{n}", session=f"busy{n}"))
    await other.publish(ASK, message("m", session="last"))
    assert await asked(one) == ["m"]


async def test_workers_of_one_load_take_turns(workers, other):
    """Nobody sits idle because another is as quick."""
    all_of_them = [await workers() for _ in range(3)]
    for n in range(6):
        await other.publish(ASK, message(f"m{n}", session=f"s{n}"))
        for worker in all_of_them:
            for id in await asked(worker):
                turn = started(id, session=f"s{n}", messageId=id)
                await worker.publish(START, turn)
                await worker.publish(DONE, completed(id, session=f"s{n}"))
                worker.answered = [*getattr(worker, "answered", []), id]
    assert [worker.answered for worker in all_of_them] == [["m0", "m3"], ["m1", "m4"], ["m2", "m5"]]


async def test_a_session_stays_with_its_worker(workers, other):
    """While it is there, however much it has to do; also before the first turn has begun."""
    one, two = await workers(), await workers()
    await other.publish(ASK, message("m0"))
    await other.publish(ASK, message("m1"))
    first, second = (one, two) if one.inbox or await asked(one) else (two, one)
    assert await asked(second) == []
    for n in range(5):
        await first.publish(START, started(f"t{n}", messageId=f"m{n}"))
    for n in range(5):
        await first.publish(DONE, completed(f"t{n}"))
        await other.publish(ASK, message(f"more{n}"))
    assert len(await asked(first)) >= 5
    assert await asked(second) == []
    await first.socket.close()
    await other.publish(ASK, message("last"))
    assert (await asked(second))[-1] == "last"


async def test_messages_of_a_session_with_an_open_turn(workers, other):
    """They go to the same worker, at once; what it makes of them is its own business."""
    worker = await workers()
    await other.publish(ASK, message("m0"))
    await worker.publish(START, started(messageId="m0"))
    await other.publish(ASK, message("m1"))
    assert await asked(worker) == ["m0", "m1"]


async def test_each_group_has_a_copy(workers, other):
    """And the first turn that begins takes the message up for all of them."""
    one, two = await workers(group="answering"), await workers(group="watching")
    await other.publish(ASK, message())
    assert await asked(one) == await asked(two) == ["m"]
    await one.publish(START, started(messageId="m"))
    replacement = await workers(group="watching")
    await two.socket.close()
    await other.publish(ASK, message("m2", session="s2"))
    assert await asked(replacement) == ["m2"]


# ----------------------------------------------------------------- who is lost


async def test_an_untaken_message_passes_on_when_its_worker_is_lost(workers, other):
    """At once, where it gave no `client`: it cannot come back."""
    first = await workers()
    await other.publish(ASK, message())
    second = await workers()
    assert await asked(second) == []
    first.socket.transport.abort()
    assert await given(second) == "m"


async def test_a_message_that_was_taken_up_stays_taken(workers, other):
    """Its worker is lost, and with it the turn; another is not given the message."""
    first, second = await workers(), await workers(key="s2")
    await other.publish(ASK, message())
    await first.publish(START, started(messageId="m"))
    first.socket.transport.abort()
    heir = await workers()
    await other.publish(ASK, message("m2", session="s2"))
    assert sorted(await asked(heir) + await asked(second)) == ["m2"]


async def test_an_untaken_message_passes_on_when_its_worker_leaves(workers, other):
    """At once; the worker itself stays connected, and has nothing more."""
    first, second = await workers(), await workers()
    for n in range(4):
        await other.publish(ASK, message(f"m{n}", session=f"s{n}"))
    mine = await asked(first)
    await first.publish(START, started(session=f"s{mine[0][1]}", messageId=mine[0]))
    await first.ask("unsubscribe", topic=ASK, group="workers")
    await first.get("unsubscribed")
    rest = await asked(second)
    assert sorted(rest) == sorted({f"m{n}" for n in range(4)} - {mine[0]})
    assert await asked(first) == []


async def test_a_worker_that_comes_back_keeps_its_messages(site, workers, other):
    """The same client on a new connection is given what it had and has not begun: it may
    never have got it. Nobody else is, whether the old connection is known to be lost or not."""
    mine = f"{site.ws}?client={SECRET}"
    first = await workers(mine)
    rival = await workers(key="nothing")
    for n in range(2):
        await other.publish(ASK, message(f"m{n}"))
    assert await asked(first) == ["m0", "m1"]
    await rival.subscribe(ASK, group="workers")
    await first.publish(START, started(messageId="m0"))
    second = await workers(mine)
    assert await first.close_code() == 4010
    assert await asked(second) == ["m1"]
    second.socket.transport.abort()
    third = await workers(mine)
    assert await asked(third) == ["m1"]
    await third.publish(START, started("t1", messageId="m1"))
    assert await asked(await workers(mine)) == []
    assert await asked(rival) == []


async def test_the_same_client_on_another_server_is_another_member(site, workers, other):
    """As it is another connection: neither takes the other's place."""
    here = await workers(f"{site.ws}?client={SECRET}")
    everywhere = await workers(f"{site.server(None)}?client={SECRET}")
    for n in range(2):
        await other.publish(ASK, message(f"m{n}", session=f"s{n}"))
    assert [await asked(here), await asked(everywhere)] == [["m0"], ["m1"]]
    await everywhere.socket.close()
    await other.publish(ASK, message("m2", session="s2"))
    assert "m2" in await asked(here)


async def test_a_worker_that_does_not_come_back(start, codec):
    """After a while its messages pass on."""
    site = await start(**impatient(worker_wait=SOON))
    async with connect(site.ws) as user, connect(site.ws, codec) as second:
        async with connect(f"{site.ws}?client={SECRET}", codec) as first:
            await first.subscribe(ASK, group="workers")
            await user.publish(ASK, message())
            await second.subscribe(ASK, group="workers")
        assert await given(second) == "m"


async def test_a_message_that_has_lost_every_worker(workers, other):
    """Is for the one that comes later."""
    for _ in range(2):
        worker = await workers()
        if not await asked(worker):
            await other.publish(ASK, message())
            assert await given(worker) == "m"
        worker.socket.transport.abort()
    assert await given(await workers()) == "m"


async def test_nobody_comes_for_a_message_that_has_lost_its_worker(start, codec):
    """The user is told: `no_worker`, now as an event."""
    site = await start(**impatient(start_limit=SOON))
    async with connect(site.ws, codec) as user:
        await user.subscribe(ERROR)
        async with connect(site.ws) as worker:
            await worker.subscribe(ASK, group="workers")
            await user.ask("publish", topic=ASK, body=message())
            assert await given(worker) == "m"
            await worker.ask("unsubscribe", topic=ASK, group="workers")
        body = (await user.get("event"))["body"]
        assert body["code"] in ("no_worker", "agent_unresponsive")
        assert (body["messageId"], body["retryable"]) == ("m", True)


# ----------------------------------------------------------------- who does not begin


async def test_workers_that_do_not_begin(start, codec):
    """The message passes on once, then the user is told; and nobody has it any more."""
    site = await start(**impatient(start_limit=SOON))
    async with (
        connect(site.ws, codec) as user,
        connect(site.ws, codec) as one,
        connect(site.ws, codec) as two,
    ):
        await user.subscribe(ERROR)
        for worker in (one, two):
            await worker.subscribe(ASK, group="workers")
        await user.publish(ASK, message())
        assert [await given(worker) for worker in (one, two)] == ["m", "m"]
        assert (await user.get("event"))["body"] == {
            "sessionId": "s", "messageId": "m", "code": "agent_unresponsive",
            "message": "The agent did not begin to answer.", "retryable": True,
        }  # fmt: skip
        await two.socket.close()
        assert await asked(one) == []
        await one.publish(START, started(messageId="m"))  # better late than never
        await one.publish(DONE, completed())


async def test_a_worker_that_begins_late(start, codec):
    """Takes the message up all the same, also from who was given it meanwhile."""
    site = await start(**impatient(start_limit=0.2))
    async with (
        connect(site.ws, codec) as user,
        connect(site.ws, codec) as one,
        connect(site.ws, codec) as two,
    ):
        await user.subscribe(CHAT + "*")
        for worker in (one, two):
            await worker.subscribe(ASK, group="workers")
        await user.publish(ASK, message())
        assert [await given(worker) for worker in (one, two)] == ["m", "m"]
        await one.publish(START, started(messageId="m"))
        await one.publish(DONE, completed())
        async with connect(site.ws) as three:
            await three.subscribe(ASK, group="workers")
            await two.socket.close()
            assert await asked(three) == []


async def test_a_worker_that_says_that_it_will_not(workers, other):
    """An `error` with the messageId, and without a turn, is an answer as well."""
    one = await workers()
    await other.publish(ASK, message())
    assert await asked(one) == ["m"]
    await one.publish(ERROR, {
        "sessionId": "s", "messageId": "m", "code": "quota", "message": "no", "retryable": False,
    })  # fmt: skip
    await one.socket.close()
    assert await asked(await workers()) == []


async def test_a_message_cannot_be_cancelled_before_its_turn(workers, other):
    """A cancel names a turn: there is none."""
    await workers()
    await other.publish(ASK, message())
    assert (await other.refused(CHAT + "cancel", TURN))["code"] == "turn_not_started"


# ----------------------------------------------------------------- stored


async def test_untaken_messages_outlive_the_broker(start, tmp_path, codec):
    """After a restart they go to who comes first; what was taken up is nobody's."""
    durable = {"namespaces": {"agent.chat": {
        "engine": "sqlite", "storage": {"file": str(tmp_path / "chat.db")},
    }}}  # fmt: skip
    site = await start(**durable)
    async with connect(site.ws) as user, connect(site.ws, codec) as worker:
        await worker.subscribe(ASK, group="workers")
        for n in range(4):
            await user.publish(ASK, message(f"m{n}", session=f"s{n}"))
        await worker.publish(START, started(session="s1", messageId="m1"))
        assert await asked(worker) == ["m0", "m1", "m2", "m3"]
    await site.broker.stop()
    site = await start(**durable)
    async with connect(site.ws) as user, connect(site.ws, codec) as worker:
        await worker.subscribe(ASK, key="s2", group="workers")
        assert await asked(worker) == ["m2"]
        async with connect(site.ws, codec) as another:
            await another.subscribe(ASK, group="workers")
            assert await asked(another) == ["m0", "m3"]
            await user.publish(ASK, message("m0", session="s0"))
            await another.publish(START, started(session="s0", messageId="m0"))
        await worker.subscribe(ASK, group="workers")
        assert await asked(worker) == ["m3"]
