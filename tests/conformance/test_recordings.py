"""How long a recording is there, and for whom."""

import asyncio

import pytest

from plugins.agent.audio import Audio
from plugins.agent.client import connect
from plugins.agent.failure import TurnFailed
from plugins.agent.recordings import Name, Recordings

from .client import connect as connect_peer
from .sse import stream
from .test_voice import LOUD, SOON, asking, http, listening, options, post

__all__ = ["http"]


async def test_a_recording_is_fetched_once(site, http):
    """Whole: whoever asks what it is, or breaks off, takes nothing."""
    whole = LOUD * 90  # more than what is under way in sockets
    found = []

    async def hear(audio: Audio) -> str:
        path = audio.url.removeprefix(site.url)
        async with stream(site.address, path, receive_buffer=4096) as broken_off:
            assert broken_off.status == 200
        tries = ("HEAD", "GET", "GET", "HEAD")
        found.extend([await http.request(method, audio.url) for method in tries])
        return "hello"

    async with listening(site, hear):
        assert "You said: hello" in (await post(http, sound=whole)).text
    assert [answer.status_code for answer in found] == [200, 200, 404, 404]
    assert [answer.content for answer in found[:2]] == [b"", whole]
    assert found[2].json()["error"]["code"] == "no_recording"
    for answer in found[:2]:
        assert answer.headers["content-type"] == "audio/webm"
        assert answer.headers["content-length"] == str(len(whole))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-disposition"] == "attachment"


@pytest.mark.parametrize("fetched", [True, False])
async def test_a_recording_that_has_lost_its_worker(site, http, fetched):
    """The next worker has it as the first one did, and once."""
    async with (
        connect(site.ws) as lost,
        lost.subscribe("agent.chat.userAudio", group="workers") as queue,
    ):
        asked = asyncio.create_task(post(http))
        first = Audio.of((await anext(queue)).body, site.ws)
        if fetched:
            assert await first.read() == LOUD
            with pytest.raises(TurnFailed) as raised:
                await first.read()
            assert raised.value.code == "audio_lost"
    left = []

    async def hear(audio: Audio) -> str:
        assert await audio.read() == LOUD
        left.append((await http.head(audio.url)).status_code)
        return "hello"

    async with listening(site, hear):
        answer = await asked
    assert "You said: hello" in answer.text
    assert left == [404]


async def test_a_worker_that_comes_back_is_given_the_recording_again(site, http):
    """It may have lost what it had, with its connection."""
    asked = None
    for _ in range(2):
        async with connect_peer(f"{site.ws}?client=0123456789abcdef") as peer:
            await peer.subscribe("agent.chat.userAudio", group="workers")
            if asked is None:
                asked = asyncio.create_task(post(http))
            url = (await peer.get("event"))["body"]["url"]
            assert [(await http.get(url)).status_code for _ in range(2)] == [200, 404]
            peer.socket.transport.abort()
    asked.cancel()


async def test_one_who_was_given_up_takes_nothing(site, http):
    """In the middle of its fetch: the message is another worker's, who has not begun."""
    topic = "agent.chat.userAudio"
    async with connect_peer(site.ws) as next_one:
        async with connect_peer(site.ws) as lost:
            await lost.subscribe(topic, group="workers")
            asked = asyncio.create_task(post(http, sound=LOUD * 90))
            url = (await lost.get("event"))["body"]["url"]
            slow = await http.send(http.build_request("GET", url), stream=True)
        await next_one.subscribe(topic, group="workers")
        assert (await next_one.get("event"))["body"]["url"] == url
        assert len(await slow.aread()) == len(LOUD) * 90
        assert [(await http.get(url)).status_code for _ in range(2)] == [200, 404]
    asked.cancel()


async def test_each_group_s_worker_has_the_recording(site, http):
    """One of another group takes it from nobody."""
    async with connect_peer(site.ws) as one, connect_peer(site.ws) as other:
        await one.subscribe("agent.chat.userAudio", group="one")
        await other.subscribe("agent.chat.userAudio", group="other")
        asked = asyncio.create_task(post(http))
        for peer in (one, other):
            url = (await peer.get("event"))["body"]["url"]
            assert (await http.get(url)).content == LOUD
        assert (await http.get(url)).status_code == 404
    asked.cancel()


async def test_what_is_given_up_is_let_go(start):
    """With the error that tells it, and long before it is too old."""
    site = await start(**options(start_limit=SOON, voice={"max_recordings": 1}))
    async with (
        asking(site) as http,
        connect(site.ws) as one,
        one.subscribe("agent.chat.userAudio", group="workers"),
        connect(site.ws) as two,
        two.subscribe("agent.chat.userAudio", group="workers"),
    ):
        for _ in range(2):
            answer = await post(http)
            assert "agent_unresponsive" in answer.text


async def test_understanding_may_take_longer_than_the_start_limit(start, monkeypatch):
    """Who has fetched the recording keeps it, for as long as understanding may take."""
    site = await start(**options(start_limit=0.5))
    tries, spared = [], []
    twice = asyncio.Event()
    is_heard = Recordings.is_heard

    def asked(recordings: Recordings, message: Name) -> bool:
        spared.append(is_heard(recordings, message))
        if len(spared) == 2:
            twice.set()
        return spared[-1]

    monkeypatch.setattr(Recordings, "is_heard", asked)

    async def hear(audio: Audio) -> str:
        tries.append(await audio.read())
        await twice.wait()
        return "hello"

    async with asking(site) as http, listening(site, hear), listening(site, hear):
        answer = await post(http)
    assert "You said: hello" in answer.text
    assert len(tries) == 1
    assert spared[:2] == [True, True]


async def test_understanding_does_not_take_for_ever(start):
    """Another worker has it in the end, and finds the recording where it was."""
    site = await start(**options(start_limit=0.5, voice={"understanding": SOON}))
    async with (
        asking(site) as http,
        connect(site.ws) as one,
        one.subscribe("agent.chat.userAudio", group="workers") as first,
        connect(site.ws) as two,
        two.subscribe("agent.chat.userAudio", group="workers") as second,
    ):
        asked = asyncio.create_task(post(http))
        for queue in (first, second):
            audio = Audio.of((await anext(queue)).body, site.ws)
            assert await audio.read() == LOUD
        assert "agent_unresponsive" in (await asked).text
