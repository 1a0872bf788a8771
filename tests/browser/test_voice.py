"""The guide's page hears: from a microphone that plays a tone, through the broker, to a worker."""

import asyncio
import io
import wave
from array import array
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from playwright.async_api import Page, expect

from plugins.agent.client import connect
from plugins.agent.demo import hearing
from plugins.agent.failure import TurnFailed
from plugins.agent.worker import Worker

from .chromium import TONE_HZ
from .looped import IN_BROWSER, lasting

pytestmark = IN_BROWSER

ALLOWED = {"permissions": ["microphone"]}
SAID = "what is a turn"


class Ear:
    """A worker that hears whatever a test wants it to.

    Attributes:
        got: the recordings, as they came.
        heard: what it says of them; an exception is raised.
    """

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.heard: str | Exception = SAID
        self.worker = Worker("ear")

        @self.worker.on_audio
        async def hear(audio):
            self.got.append((audio.content_type, await audio.read()))
            if isinstance(self.heard, Exception):
                raise self.heard
            return self.heard

        @self.worker.on_message
        async def answer(message, turn):
            await turn.token(f"You asked: {message.text}")


@asynccontextmanager
async def listening(site):
    """An `Ear`, online."""
    ear = Ear()
    async with connect(site.ws) as client, client.subscribe("agent.status", "ear") as status:
        task = asyncio.create_task(ear.worker.run(client))
        await anext(status)
        yield ear
        ear.worker.stop()
        await task


@lasting
async def site(start):
    """A broker that does not wait long for a worker."""
    return await start(namespaces={"agent.chat": {"options": {"worker_wait": 0.1}}})


@lasting
async def ear(site):
    async with listening(site) as it:
        yield it


@pytest.fixture
def talk(site, open_chat):
    """Opens the guide's page, by default with a microphone that may be used."""

    async def begin(**options) -> Page:
        options = ALLOWED | options
        page = await open_chat(f"{site.url}/?dialect=guide", live=False, **options)
        await page.locator("#empty").wait_for()
        return page

    return begin


async def speak(page: Page) -> None:
    """Press the microphone, and wait for a second of speech."""
    await page.get_by_role("button", name="Speak").click()
    await expect(page.locator("#recorded")).to_have_text("0:01")


async def send(page: Page) -> None:
    await page.get_by_role("button", name="Send the recording").click()


def samples(recording: bytes) -> array:
    """Of a WAV, as the demo's ears want it."""
    with wave.open(io.BytesIO(recording)) as file:
        form = file.getnchannels(), file.getsampwidth(), file.getframerate()
        assert form == (1, 2, hearing.RATE)
        whole = file.readframes(file.getnframes())
    assert len(whole) == 2 * file.getnframes(), "it is cut short"
    assert len(recording) == 44 + len(whole), "something stands behind it"
    return array("h", whole)


def pitch(heard: array) -> float:
    """How often it swings up through zero, a second."""
    rises = sum(1 for a, b in pairwise(heard) if a < 0 <= b)
    return rises * hearing.RATE / len(heard)


async def test_speech_is_recorded_sent_heard_and_answered(talk, ear):
    """The worker has what the microphone heard; its words become the question, and an answer."""
    page = await talk()
    await speak(page)
    await expect(page.get_by_label("Message", exact=True)).to_be_hidden()
    bars = page.locator("#levels i")
    await expect(bars.last).not_to_have_css("transform", "matrix(1, 0, 0, 0.08, 0, 0)")
    await send(page)
    await expect(page.locator(".user .words")).to_have_text(SAID)
    await expect(page.locator(".user .bubble .icon")).to_be_visible()
    await expect(page.locator(".turn")).to_have_attribute("data-state", "done")
    await expect(page.locator(".turn .text")).to_have_text(f"You asked: {SAID}")
    await expect(page.get_by_label("Message", exact=True)).to_be_visible()

    [(kind, recording)] = ear.got
    assert kind == "audio/wav"
    heard = samples(recording)
    shown, _, seconds = (await page.locator("#recorded").text_content()).partition(":")
    assert int(seconds) <= len(heard) / hearing.RATE < int(seconds) + 1
    assert shown == "0"
    tone = heard[4_000:12_000]  # before browsers take it for a noise, and suppress it
    assert max(tone) > 1_000
    assert pitch(tone) == pytest.approx(TONE_HZ, rel=0.1)


async def test_what_is_discarded_goes_nowhere(talk, ear):
    """By its button, or Escape; the next one is all that the worker hears."""
    page = await talk()
    await speak(page)
    await page.get_by_role("button", name="Discard").click()
    await expect(page.get_by_role("button", name="Speak")).to_be_focused()
    await speak(page)
    await page.keyboard.press("Escape")
    await expect(page.locator("#recording")).to_be_hidden()
    await speak(page)
    await page.keyboard.press("Enter")
    await expect(page.locator(".turn")).to_have_attribute("data-state", "done")
    assert len(ear.got) == 1
    await expect(page.locator(".user")).to_have_count(1)


async def test_what_is_not_understood_can_be_said_again(talk, ear):
    """The same recording goes out again; and an agent without ears says so."""
    page = await talk()
    ear.heard = TurnFailed("nothing_heard", "no words were heard", retryable=True)
    await speak(page)
    await send(page)
    question = page.locator(".user").last
    await expect(question.locator(".reason")).to_contain_text("No words were heard")
    await expect(question.locator(".words")).to_have_text("Voice message")
    ear.heard = TurnFailed("voice_unavailable", "it lacks the voice extra")
    await question.get_by_role("button", name="Try again").click()
    await expect(page.locator(".user")).to_have_count(2)
    await expect(question.locator(".reason")).to_contain_text("voice extra is not installed")
    await expect(question.get_by_role("button", name="Try again")).to_be_hidden()
    assert ear.got[0] == ear.got[1]


async def test_without_a_worker_that_hears(site, talk):
    """It is refused as any other question is; the recording is still there."""
    page = await talk()
    await speak(page)
    await send(page)
    question = page.locator(".user")
    await expect(question.locator(".reason")).to_have_text("No agent is available right now.")
    async with listening(site) as ear:
        await question.get_by_role("button", name="Try again").click()
        await expect(page.locator(".turn")).to_have_attribute("data-state", "done")
        assert samples(ear.got[0][1])


async def test_no_microphone(talk):
    """Refused, absent, taken by another, and on a page that may have none: each is said."""
    page = await talk(permissions=["clipboard-read"])
    problem = page.get_by_role("alert")
    button = page.get_by_role("button", name="Speak")
    await button.click()
    await expect(problem).to_contain_text("microphone is blocked")
    for name, told in (
        ("NotFoundError", "There is no microphone here."),
        ("NotReadableError", "Does another program have it?"),
    ):
        refuse = f"() => Promise.reject(new DOMException('no', '{name}'))"
        await page.evaluate(f"void (navigator.mediaDevices.getUserMedia = {refuse})")
        await button.click()
        await expect(problem).to_contain_text(told)
    await page.evaluate(
        "void Object.defineProperty(navigator, 'mediaDevices', { value: undefined })"
    )
    await button.click()
    await expect(problem).to_contain_text("https")
    await expect(page.get_by_label("Message", exact=True)).to_be_visible()


async def test_on_a_phone(talk):
    """Nothing is wider than the screen, also while it records."""
    page = await talk()
    await page.set_viewport_size({"width": 360, "height": 640})
    wide = "document.documentElement.scrollWidth"
    assert await page.evaluate(wide) == 360
    await page.get_by_role("button", name="Speak").click()
    await expect(page.locator("#recording")).to_be_visible()
    assert await page.evaluate(wide) == 360


async def test_other_pages_hear_nothing(site, open_chat):
    """Only the guide's has recorded speech."""
    for query in ("?dialect=octopus", "?session=s"):
        page = await open_chat(f"{site.url}/{query}", live=False)
        await page.locator(".composer").wait_for()
        await expect(page.get_by_role("button", name="Speak")).to_be_hidden()
