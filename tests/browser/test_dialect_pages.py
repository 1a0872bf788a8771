"""The pages of the dialects: each step that an encoder writes, as its widget shows it.

The answers come from the test, through `fetch`: bytes that the encoders wrote, one write at
a time. The rest is the page.
"""

import asyncio
import json

import pytest
from playwright.async_api import Page, expect
from unit.front_ends import OF, at, encoder, recorded

from plugins.agent.dialects import DIALECTS
from plugins.agent.messages import ChatError, TurnStarted

from .looped import IN_BROWSER

pytestmark = IN_BROWSER

FETCH = """
    window.asked = [];
    window.fetch = (url, { body, headers, signal }) => new Promise((resolve, reject) => {
        const asked = { url, body: JSON.parse(body), headers };
        signal.addEventListener('abort', () => {
            asked.aborted = true;
            asked.controller?.error(new DOMException('aborted', 'AbortError'));
            reject(new DOMException('aborted', 'AbortError'));
        });
        asked.refuse = (status, problem) => resolve(new Response(problem, { status }));
        asked.answer = () => resolve(new Response(new ReadableStream({
            start(controller) { asked.controller = controller; },
        })));
        asked.write = (text) => asked.controller.enqueue(new TextEncoder().encode(text));
        asked.lose = () => asked.controller.error(new TypeError('network error'));
        asked.fail = () => reject(new TypeError('Failed to fetch'));
        window.asked.push(asked);
        window.waiting?.();
    });
    window.until = async (count) => {
        while (asked.length < count) await new Promise((resolve) => { window.waiting = resolve; });
        const { url, body, headers } = asked.at(-1);
        return { url, body, headers };
    };
"""

FAILED = ChatError(sessionId="s-1", turnId="t-1", code="x", message="It broke.", retryable=True)
UNFIT = {"error": {"code": "bad_body", "message": "message is empty", "retryable": False}}

PIECES = [("Good", 1), (" day.", 2)]


class Wire:
    """The other end of the page's requests: of the latest one."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name
        self.count = 0

    async def ask(self, question: str = "Hello?") -> dict:
        """Ask on the page; what it posts."""
        await self.page.get_by_label("Message", exact=True).fill(question)
        await self.page.keyboard.press("Enter")
        return await self.request()

    async def request(self) -> dict:
        """What the page posts next. It gets a new answer."""
        self.count += 1
        self.way = encoder(self.name)
        async with asyncio.timeout(10):
            return await self.page.evaluate("(count) => until(count)", self.count)

    async def accept(self) -> None:
        await self.page.evaluate("asked.at(-1).answer()")
        await self._write(self.way.accepted())

    async def tell(self, *events) -> None:
        for event in events:
            await self._write(self.way.event(event))

    async def do(self, what: str) -> None:
        await self.page.evaluate(f"asked.at(-1).{what}")

    async def _write(self, data: bytes) -> None:
        if data:
            await self.page.evaluate("(text) => asked.at(-1).write(text)", data.decode())


@pytest.fixture
def talk(site, open_chat):
    """Opens a dialect's page: `page, wire = await talk("octopus")`."""

    async def begin(name: str, **options):
        address = f"{site.url}/?dialect={name}"
        page = await open_chat(address, live=False, script=FETCH, **options)
        await page.locator("#empty").wait_for()  # shown when it listens
        return page, Wire(page, name)

    return begin


async def state(page: Page, expected: str) -> None:
    await expect(page.locator(".turn").last).to_have_attribute("data-state", expected)


async def test_the_start_page_leads_to_each(site, open_chat):
    """And from there to the others, and back; a link that leads nowhere leads back, too."""
    page = await open_chat(site.url)
    for link in ("Octopus", "Streaming API guide", "OpsHub", "Strakly"):
        await page.get_by_role("link", name=link).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(link)
        await expect(page.locator(".ways [aria-current]")).to_have_text(link)
        await expect(page.locator(".starter").first).to_contain_text("everything")
    await page.get_by_role("link", name="WebSocket").click()
    await page.wait_for_selector("#connection[data-phase=live]")
    await page.goto(f"{site.url}/?dialect=klingon")
    await page.wait_for_selector("#connection[data-phase=live]")


async def test_octopus(talk):
    """Dots, the tool's name, dots again, the growing text, the buttons."""
    page, wire = await talk("octopus")
    request = await wire.ask()
    assert request["url"].startswith("./octopus/api/chat/")
    assert request["url"].endswith("/send")
    start, _, tool, _, result, first, *_, end = recorded(PIECES)
    await wire.accept()
    await wire.tell(start)
    await state(page, "dots")
    await wire.tell(tool)
    await expect(page.locator(".activity .tool")).to_have_text("search…")
    await wire.tell(result)
    await state(page, "dots")
    await wire.tell(first)
    await expect(page.locator(".turn .text")).to_have_text("Good")
    await state(page, "text")
    await expect(page.get_by_role("button", name="Copy the answer")).to_be_hidden()
    await wire.tell(end)
    await state(page, "done")
    await expect(page.locator(".turn .text")).to_have_text("Good day.")
    await expect(page.locator(".meta")).to_have_text("900 ms · 12 tokens")
    await expect(page.get_by_role("button", name="Copy the answer")).to_be_visible()
    await expect(page.get_by_role("button", name="Good answer")).to_be_visible()


async def test_guide(talk):
    """Thoughts, tools, text, suggestions; and that it is saved."""
    page, wire = await talk("guide")
    request = await wire.ask()
    assert request["url"] == "./guide/api/chat?stream=true&includeTokens=true"
    assert request["body"].keys() == {"message", "chatInstanceId", "chatModelId"}
    await wire.accept()
    events = recorded(PIECES)
    await wire.tell(*events[:3])
    await expect(page.locator(".thinking p")).to_have_text("Hm.")
    await state(page, "tool")
    await wire.tell(*events[3:])
    await state(page, "done")
    await expect(page.locator(".turn .text")).to_have_text("Good day.")
    await expect(page.locator(".meta")).to_have_text("900 ms · 5 tokens · saved")
    await page.get_by_role("button", name="Why?").click()
    assert (await wire.request())["body"]["message"] == "Why?"


async def test_opshub(talk):
    """A progress bar, tools, text in batches, and the whole of it at the end."""
    page, wire = await talk("opshub")
    request = await wire.ask()
    assert request["url"] == "./opshub/api/chat"
    assert request["body"].keys() == {"message", "sessionId"}
    await wire.accept()
    start, _, tool, progress, result, first, *rest = recorded(PIECES)
    await wire.tell(start)
    await state(page, "dots")
    await wire.tell(tool, progress)
    await expect(page.locator(".activity .tool")).to_have_text("search…")
    await expect(page.get_by_role("progressbar")).to_have_js_property("value", 50)
    await wire.tell(result, first)
    await expect(page.locator(".turn .text")).to_have_text("Good")
    await wire.tell(*rest)
    await state(page, "done")
    await expect(page.locator(".turn .text")).to_have_text("Good day.")


async def test_strakly(talk):
    """Tools, text, a theme, suggestions; and the conversation goes on under its name."""
    page, wire = await talk("strakly")
    request = await wire.ask()
    assert request["url"] == "./strakly/chat"
    assert request["headers"]["Accept"] == "text/event-stream"
    assert "conversation_id" not in request["body"]
    await wire.accept()
    start, _, tool, *rest = recorded(PIECES)
    await wire.tell(start, tool)
    await expect(page.locator(".activity .tool")).to_have_text("search…")
    await wire.tell(*rest)
    await state(page, "done")
    await expect(page.locator(".tools li")).to_have_text("search")
    await expect(page.locator(".turn .text")).to_have_text("Good day.")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await expect(page.locator("body")).to_have_css("background-color", "rgb(18, 21, 23)")
    await page.get_by_role("button", name="Why?").click()
    assert (await wire.request())["body"]["conversation_id"] == wire.way.ask.session


@pytest.mark.parametrize("name", DIALECTS)
async def test_what_goes_wrong(talk, name):
    """Stopped, failed, refused, broken off, away: nothing goes on spinning, and each is told."""
    page, wire = await talk(name)
    row, part = page.locator(".turn").last, recorded(PIECES)[:6]

    await wire.ask()
    await wire.accept()
    await wire.tell(*part)
    await expect(row.locator(".text")).to_have_text("Good")
    await page.get_by_role("button", name="Stop").click()
    await state(page, "done")
    assert await page.evaluate("asked.at(-1).aborted")
    await expect(row.locator(".text")).to_have_text("Good")
    await expect(row.locator(".meta")).to_contain_text("Stopped")

    await wire.ask()
    await wire.accept()
    await wire.tell(at(TurnStarted(**OF, agentId="a")), at(FAILED))
    await state(page, "error")
    told = "It broke." if name in ("guide", "opshub") else "No answer came."
    await expect(row.locator(".reason")).to_have_text(told)
    await row.get_by_role("button", name="Try again").click()
    assert (await wire.request())["body"]["message"] == "Hello?"

    await wire.do(f"refuse(422, {json.dumps(json.dumps(UNFIT))})")
    question = page.locator(".user").last
    await expect(question).to_have_attribute("data-state", "failed")
    await expect(question.locator(".reason")).to_have_text("message is empty")
    await question.get_by_role("button", name="Try again").click()
    await wire.request()
    if name == "opshub":
        return  # it posts again what breaks off: see below

    await wire.accept()
    await wire.tell(*part)
    await expect(row.locator(".text")).to_have_text("Good")
    await wire.do("lose()")
    await state(page, "error")
    await expect(row.locator(".text")).to_have_text("Good")
    await expect(row.locator(".reason")).to_have_text("The answer broke off.")

    await wire.ask("And now?")
    await wire.do("fail()")
    await expect(question.locator(".reason")).to_have_text("The server cannot be reached.")
    await expect(page.get_by_role("button", name="Stop")).to_be_hidden()


async def test_opshub_posts_again_what_broke_off(talk, own_tabs):
    """After 1, 2 and 4 seconds, the same message; the turn is told anew, or given up."""
    page, wire = await talk("opshub", inside=own_tabs)
    await page.clock.install()
    first = await wire.ask()
    events = recorded(PIECES)
    await wire.accept()
    await wire.tell(*events[:6])
    await expect(page.locator(".turn .text")).to_have_text("Good")
    await wire.do("lose()")
    for wait in (1000, 2000):
        await page.clock.run_for(wait)
        again = await wire.request()
        assert (again["url"], again["body"]) == (first["url"], first["body"])
        await wire.do("fail()")
    await page.clock.run_for(4000)
    await wire.request()
    await wire.accept()
    await wire.tell(*events)
    await state(page, "done")
    await expect(page.locator(".turn")).to_have_count(1)
    await expect(page.locator(".turn .text")).to_have_text("Good day.")
