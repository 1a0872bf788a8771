"""How long a recording is there, and for whom."""

import asyncio

from plugins.agent.audio import Audio
from plugins.agent.client import connect
from plugins.agent.recordings import Name, Recordings

from .test_voice import LOUD, SOON, asking, heard_as, http, listening, options, post

__all__ = ["http"]


async def test_a_recording_is_there_until_it_is_answered(site, http):
    """Also for a second worker, and whoever asks what it is takes nothing."""
    found = []

    async def hear(audio: Audio) -> str:
        found.append(await http.head(audio.url))
        found.extend(await asyncio.gather(*(http.get(audio.url) for _ in range(3))))
        return "hello"

    async with listening(site, hear):
        assert (await post(http)).status_code == 200
    assert [answer.status_code for answer in found] == [200] * 4
    assert [answer.content for answer in found] == [b"", LOUD, LOUD, LOUD]
    for answer in found:
        assert answer.headers["content-type"] == "audio/webm"
        assert answer.headers["content-length"] == str(len(LOUD))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-disposition"] == "attachment"


async def test_a_recording_that_has_lost_its_worker(site, http):
    """The next worker has it as the first one did."""
    async with (
        connect(site.ws) as lost,
        lost.subscribe("agent.chat.userAudio", group="workers") as queue,
    ):
        asked = asyncio.create_task(post(http))
        first = Audio.of((await anext(queue)).body, site.ws)
        assert await first.read() == LOUD
    async with listening(site, heard_as("hello")):
        answer = await asked
    assert "You said: hello" in answer.text


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
