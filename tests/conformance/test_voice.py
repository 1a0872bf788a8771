"""Recorded speech over HTTP: from a form, through the broker, to one worker, and back as text."""

import asyncio
import tempfile
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from plugins.agent.audio import Audio
from plugins.agent.client import connect
from plugins.agent.dialects import DIALECTS
from plugins.agent.failure import TurnFailed
from plugins.agent.worker import Worker

from . import rawsocket
from .sse import parse, until

PATH = "/guide/api/chat/voice"
FORM = {"chatInstanceId": "s", "chatModelId": "m", "stream": "true"}
SOON = 0.05
"""A limit that a test means to reach."""

LOUD = bytes(range(256)) * 400
"""100 KB: more than what is kept in memory."""


def asking(site):
    return httpx.AsyncClient(base_url=site.url, trust_env=False, timeout=20)


@pytest.fixture
async def http(site):
    async with asking(site) as client:
        yield client


def options(**chosen):
    return {"namespaces": {"agent.chat": {"options": chosen}}}


@asynccontextmanager
async def listening(site, hear, talk=None):
    """A worker that hears with `hear`, and answers with what it has heard, or as `talk` does."""
    worker = Worker("ear")
    worker.on_audio(hear)

    @worker.on_message
    async def answer(message, turn):
        if talk is not None:
            await talk(message, turn)
        else:
            await turn.token(f"You said: {message.text}")

    async with (
        connect(site.ws) as client,
        connect(site.ws) as watcher,
        watcher.subscribe("agent.status", "ear") as status,
    ):
        task = asyncio.create_task(worker.run(client))
        while (await anext(status)).body["status"] != "online":
            pass
        yield client
        worker.stop()
        await task


def heard_as(text):
    """A way to hear that fetches the recording, and always understands `text`."""

    async def hear(audio: Audio) -> str:
        await audio.read()
        return text

    return hear


async def post(http, sound=LOUD, form=FORM, **more):
    files = {"audio": ("said.webm", sound, "audio/webm")} if sound is not None else None
    return await http.post(PATH, data=form, files=files, **more)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(DIALECTS["guide"].__class__, "lingers", 0.05)


async def test_what_is_said_is_heard_and_answered(site, http):
    """The worker gets the recording as it was; its words come first, then the turn."""
    got = []

    async def hear(audio: Audio) -> str:
        got.append((audio, await audio.read()))
        return "hello broker"

    async with listening(site, hear):
        answer = await post(http)
    assert answer.status_code == 200
    [(audio, recording)] = got
    assert recording == LOUD
    assert (await http.get(audio.url)).status_code == 404  # its turn has ended
    assert (audio.content_type, audio.size) == ("audio/webm", len(LOUD))
    assert audio.body["metadata"] == {"chatModelId": "m"}
    events = [event.json for event in parse(answer.text)]
    assert events[0] == {"type": "transcription", "text": "hello broker"}
    assert events[1]["type"] == "stream_start"
    assert events[-1] == {"type": "stream_end"}
    [whole] = [event for event in events if event["type"] == "agent_response"]
    assert whole["content"] == "You said: hello broker"


async def test_without_a_stream_there_is_one_answer(site, http):
    async def hear(audio: Audio) -> str:
        return "hello"

    async with listening(site, hear):
        answer = await post(http, form=FORM | {"stream": "false"})
    assert answer.json()["content"] == "You said: hello"


@pytest.mark.parametrize("taken_up", [False, True])
async def test_the_same_recording_again_attaches_to_its_open_turn(site, http, taken_up):
    """Before the worker has understood it and after: it is told what was heard, and the turn
    from its beginning; nobody is asked anew, and no second recording is kept."""
    understood, go_on, begun = asyncio.Event(), asyncio.Event(), asyncio.Event()
    heard = []

    async def hear(audio: Audio) -> str:
        heard.append(await audio.read())
        understood.set()
        if not taken_up:
            await go_on.wait()
        return "hello"

    async def talk(message, turn):
        await turn.token("You ")
        begun.set()
        await go_on.wait()
        await turn.token("said it.")

    async with listening(site, hear, talk):
        first = asyncio.create_task(post(http))
        await (begun if taken_up else understood).wait()
        again = asyncio.create_task(post(http))
        whole = asyncio.create_task(post(http, form=FORM | {"stream": "false"}))
        live = site.broker.shared.sessions.live
        await until(lambda: sum(len(s.reader) for s in live if s.server is None) == 3)
        go_on.set()
        for answer in (await first, await again):
            events = [event.json for event in parse(answer.text)]
            assert [event["type"] for event in events[:2]] == ["transcription", "stream_start"]
            text = "".join(event["content"] for event in events if event["type"] == "token")
            assert text == "You said it."
        assert (await whole).json()["content"] == "You said it."
        assert heard == [LOUD]
        other = await post(http, sound=LOUD + b"more")
        assert other.status_code == 200
        assert len(heard) == 2


async def test_two_recordings_that_wait_for_a_worker_are_one(site, http):
    """The front end's retry comes while the broker still waits."""
    waiting = site.broker.shared.router.namespaces[0].waiting
    asked = []
    for _ in range(2):
        asked.append(asyncio.create_task(post(http)))
        await until(lambda: len(waiting) == len(asked))
    heard = []

    async def hear(audio: Audio) -> str:
        heard.append(await audio.read())
        return "hello"

    async with listening(site, hear):
        for each in asked:
            assert "agent_response" in (await each).text
        assert heard == [LOUD]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (TurnFailed("nothing_heard", "no words"), 502),
        (TurnFailed("voice_unavailable", "no ears"), 501),
        (ValueError("oh"), 502),
    ],
)
async def test_who_is_not_understood_is_told(site, http, failure, status):
    """In the dialect's own way, and without what a programming error says."""

    async def hear(audio: Audio) -> str:
        raise failure

    with capture_logs():
        async with listening(site, hear):
            streamed = await post(http)
            whole = await post(http, form=FORM | {"stream": "false"})
    code = getattr(failure, "code", "transcription_failed")
    first, last = [event.json for event in parse(streamed.text)]
    assert (first["type"], first["code"]) == ("error", code)
    assert last == {"type": "stream_end"}
    assert whole.status_code == status
    assert whole.json()["error"]["code"] == code
    assert "oh" not in first["message"]


async def test_what_cannot_be_had_is_refused(start):
    """And said why; nothing of it is kept."""
    voice = {"max_bytes": 1000, "max_recordings": 1, "upload": 0.2}
    site = await start(**options(worker_wait=0.05, voice=voice))

    async with asking(site) as http:

        async def refused(status, field=None, **request):
            answer = await post(http, **request)
            assert answer.status_code == status, answer.text
            error = answer.json()["error"]
            assert error["message"]
            assert error.get("field") == field
            return error["code"]

        assert await refused(415, sound=None) == "unsupported_type"
        assert await refused(422, "audio", sound=b"") == "bad_message"
        assert await refused(422, "chatModelId", sound=b"x", form={"chatInstanceId": "s"})
        assert await refused(413, "audio", sound=b"x" * 1001) == "too_large"
        assert await refused(413, "audio", sound=b"x" * 100_000) == "too_large"
        # Each of these would fill the only place, if what is refused were kept.
        assert await refused(503, sound=b"x") == "no_worker"
        assert await refused(503, sound=b"x") == "no_worker"
        for kind in "multipart/form-data", "multipart/form-data; boundary=b":
            answer = await http.post(PATH, content=b"x", headers={"content-type": kind})
            assert (answer.status_code, answer.json()["error"]["field"]) == (422, "$")
        assert (await http.get(PATH)).status_code == 405
        assert (await http.get("/voice/nothing")).status_code == 404

    async with rawsocket.dial(site.address) as raw:
        kind = "Content-Type: multipart/form-data; boundary=b"
        lines = [f"POST {PATH} HTTP/1.1", "Host: x", kind, "Content-Length: 9", "", "--b\r\n"]
        await raw.send("\r\n".join(lines).encode())
        status, _, body = await raw.read_answer()  # though nothing more comes
        assert (status, msgspec.json.decode(body)["error"]["code"]) == (408, "bad_message")


async def test_recordings_are_bounded_and_leave_nothing(start, tmp_path, monkeypatch):
    """No file has a name, and too many are refused; but not the same one again, of which
    nothing more is kept."""
    site = await start(**options(voice={"max_recordings": 1}))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = asyncio.Event()
    over = asyncio.Event()

    async def hear(audio: Audio) -> str:
        kept.set()
        await over.wait()
        return "hello"

    async with asking(site) as http, listening(site, hear):
        first = asyncio.create_task(post(http))
        await kept.wait()
        assert list(tmp_path.iterdir()) == []
        assert (await post(http, sound=LOUD + b"more")).status_code == 429
        again = asyncio.create_task(post(http))
        live = site.broker.shared.sessions.live
        await until(
            lambda: again.done() or sum(len(s.reader) for s in live if s.server is None) == 2
        )
        over.set()
        for asked in (first, again):
            assert "You said: hello" in (await asked).text


async def test_one_that_nobody_fetches_is_let_go(start):
    """When it is too old; its turn goes on."""
    site = await start(**options(voice={"keep": SOON}))

    async def hear(audio: Audio) -> str:
        while (await http.head(audio.url)).status_code == 200:
            pass
        return "late"

    async with asking(site) as http, listening(site, hear):
        assert "You said: late" in (await post(http)).text


async def test_recordings_on_their_way_are_bounded(start):
    """However few are kept."""
    site = await start(**options(voice={"max_recordings": 1}))
    async with asking(site) as http, rawsocket.dial(site.address) as raw:
        kind = "Content-Type: multipart/form-data; boundary=b"
        lines = [f"POST {PATH} HTTP/1.1", "Host: x", kind, "Content-Length: 9", "", "--b\r\n"]
        await raw.send("\r\n".join(lines).encode())
        while (await post(http, sound=b"")).status_code == 422:
            pass
        assert (await post(http, sound=b"")).status_code == 429


KINDS = ["audio/wav\x01", "audio/\N{SNOWMAN}", "a" * 300, "wav", "text/html", "image/svg+xml"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_recording_of_another_type(site, http, kind):
    """It would be a header of what is fetched, and a page of the broker's own origin."""
    files = {"audio": ("said.webm", LOUD, kind)}
    async with listening(site, lambda audio: audio.read()):
        answer = await http.post(PATH, data=FORM, files=files)
    assert answer.status_code == 415
    assert answer.json()["error"]["field"] == "audio"


async def test_a_form_in_capitals(site, http):
    """Media types have no case."""
    kind = {"content-type": "Multipart/Form-Data; boundary=b"}
    form = "".join(
        f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in FORM.items()
    )
    form += '--b\r\ncontent-disposition: form-data; name="audio"; filename="a"\r\n\r\nx\r\n--b--'
    async with listening(site, heard_as("hello")):
        answer = await http.post(PATH, content=form, headers=kind)
    assert answer.status_code == 200, answer.text
    async with listening(site, heard_as("hello")):
        answer = await http.post(PATH, content=b"x")  # of no type
        assert answer.status_code == 415
        answer = await post(http, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
async def test_what_is_said_to_be_too_large_is_not_awaited(site, expect):
    """It is refused by its length."""
    async with rawsocket.dial(site.address) as raw:
        await raw.send(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n".encode()
            + expect
            + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        assert (await raw.read_head()).startswith(b"HTTP/1.1 413")


async def test_a_worker_without_ears_is_given_none(site, http):
    """One that answers text alone is no worker for speech."""
    worker = Worker("deaf")

    @worker.on_message
    async def answer(message, turn):
        await turn.token("hm")

    async with connect(site.ws) as client:
        task = asyncio.create_task(worker.run(client))
        body = {"message": "Hi", "chatInstanceId": "s", "chatModelId": "m"}
        assert (await http.post("/guide/api/chat", json=body)).status_code == 200
        answer = await post(http)
        worker.stop()
        await task
    assert answer.status_code == 503
    assert msgspec.json.decode(answer.content)["error"]["code"] == "no_worker"
