"""Reloads, tabs that join and losses in mid-answer: no gap, no repeat."""

import asyncio
import json
from contextlib import suppress

from playwright.async_api import TimeoutError as NotThere
from playwright.async_api import expect

from .backend import Turn
from .link import Link
from .looped import IN_BROWSER, lasting
from .test_widget import ask, state

pytestmark = IN_BROWSER

WATCH = """() => {
    window.seen = [];
    const look = () => {
        const text = document.querySelector('.turn .text')?.textContent ?? '';
        if (text !== window.seen.at(-1)) window.seen.push(text);
    };
    const options = { subtree: true, childList: true, characterData: true };
    new MutationObserver(look).observe(document, options);
}"""
"""Notes each text that the first answer shows, from the page's first moment on."""

WORDS = [f"word{number} " for number in range(60)]
WHOLE = "".join(WORDS)


async def watched(open_chat, url: str):
    """A page that notes what it shows; it may be reloaded."""
    return await open_chat(url, script=f"({WATCH})()")


async def shows(page, text: str) -> None:
    """The answer is `text`, and never was anything but a beginning of it."""
    await expect(page.locator(".turn .text")).to_have_text(text.strip())
    seen = await page.evaluate("window.seen")
    assert seen[-1] == text
    assert [other for other in seen if not text.startswith(other)] == []
    assert seen == sorted(seen, key=len), "it went back"


async def told(page) -> str:
    return await page.locator("#rows").inner_text()


@lasting
async def link(site):
    link = Link(site.url)
    await link.restore()
    yield link
    await link.cut()


async def test_a_reload_in_mid_answer_goes_on_where_it_was(site, open_chat, agent):
    """What was asked and answered is there again, and the open answer goes on."""
    page = await watched(open_chat, site.url)
    await ask(page, "First?")
    first = Turn(agent, await agent.question(), "turn-0")
    await first.started()
    await first.completed(fullText="Yes.")
    await state(page, "done", "turn-0")
    await ask(page, "Second?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.say("thinking", text="Hm.")
    await turn.tool_started("look_up")
    await turn.tool_completed()
    await turn.text(*WORDS[:20])
    text = page.locator('[data-id="turn-1"] .text')
    await expect(text).to_have_text("".join(WORDS[:20]).strip())
    before = await told(page)

    await page.reload()
    await expect(text).to_have_text("".join(WORDS[:20]).strip())
    assert await told(page) == before
    await expect(page.locator(".row")).to_have_count(4)
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    await turn.text(*WORDS[20:])
    await expect(text).to_have_text(WHOLE.strip())
    await turn.completed()
    await state(page, "done")
    await expect(page.locator(".user .bubble")).to_have_text(["First?", "Second?"])


async def test_tokens_that_come_during_a_reload_are_neither_lost_nor_doubled(
    site, open_chat, agent
):
    """The replay and what is live meet in the middle of the text."""
    page = await watched(open_chat, site.url)
    await ask(page, "Hello?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    for start in range(0, 60, 20):
        writing = asyncio.create_task(turn.text(*WORDS[start : start + 20], together=False))
        await page.reload()
        await writing
    await shows(page, WHOLE)
    await expect(page.locator(".turn")).not_to_have_attribute("data-gap", "")
    await turn.completed()
    await state(page, "done")


async def test_a_second_tab_joins_in_the_middle(site, open_chat, agent):
    """It shows what the first one shows: the question, the tools, the text; then both go on."""
    page = await watched(open_chat, site.url)
    await ask(page, "Hello?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.tool_started("look_up")
    await turn.tool_completed()
    writing = asyncio.create_task(turn.text(*WORDS, together=False))
    other = await watched(open_chat, page.url)
    await writing
    for tab in (page, other):
        await shows(tab, WHOLE)
    assert await told(other) == await told(page)
    await turn.completed()
    for tab in (page, other):
        await state(tab, "done")
    assert await told(other) == await told(page)


async def test_an_answer_goes_on_after_every_loss(link, open_chat, agent):
    """From its last cursor on, however often the connection breaks."""
    page = await watched(open_chat, link.url)
    await ask(page, "Hello?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    for start in range(0, 60, 20):
        await turn.text(*WORDS[start : start + 10], together=False)
        await link.cut()
        await expect(page.locator("#connection")).to_have_attribute("data-phase", "waiting")
        await turn.text(*WORDS[start + 10 : start + 20])
        await link.restore()
        with suppress(NotThere):  # it may have come back by itself
            await page.get_by_role("button", name="Try now").click(timeout=1000)
        await shows(page, "".join(WORDS[: start + 20]))
    await turn.completed()
    await state(page, "done")


SHORT = {"agent.chat": {"history": {"events": 5}}}


async def test_what_the_history_lost_is_told_anew(start, open_chat, work):
    """Not recovered: the text begins anew, and the answer is whole again at once."""
    site = await start(namespaces=SHORT)
    agent = await work(site)
    link = Link(site.url)
    await link.restore()
    try:
        page = await watched(open_chat, link.url)
        await ask(page, "Hello?")
        turn = Turn(agent, await agent.question())
        await turn.started()
        await turn.text(*WORDS[:10])
        await shows(page, "".join(WORDS[:10]))
        await link.cut()
        await expect(page.locator("#connection")).to_have_attribute("data-phase", "waiting")
        await turn.text(*WORDS[10:])
        await link.restore()
        await page.get_by_role("button", name="Try now").click()
        await shows(page, WHOLE)
        await expect(page.locator(".turn")).not_to_have_attribute("data-gap", "")
        await turn.completed()
        await state(page, "done")
    finally:
        await link.cut()


async def test_a_tab_that_joins_without_the_history_has_the_text(start, open_chat, work):
    """The beginning of the open answer is not retained any more: its state is."""
    site = await start(namespaces=SHORT)
    agent = await work(site)
    page = await open_chat(site.url)
    await ask(page, "Hello?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.text(*WORDS[:30])
    other = await open_chat(page.url)
    await expect(other.locator(".turn .text")).to_have_text("".join(WORDS[:30]).strip())
    await turn.text(*WORDS[30:])
    await expect(other.locator(".turn .text")).to_have_text(WHOLE.strip())
    await expect(other.locator(".turn")).to_have_count(1)
    await turn.completed()
    await state(other, "done")


async def test_a_conversation_without_history_shows_its_last_answer(site, open_chat, agent):
    """Nothing is retained but what the session has come to: better than an empty page."""
    page = await open_chat(site.url)
    await ask(page, "Hello?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.text(*WORDS)
    await turn.completed()
    await state(page, "done")
    await page.route_web_socket("**/ws/chat", without_history)
    await page.reload()
    await state(page, "done")
    await expect(page.locator(".turn .text")).to_have_text(WHOLE.strip())
    await expect(page.locator("#empty")).to_be_hidden()


def without_history(socket) -> None:
    """As of a broker that has forgotten every event."""
    server = socket.connect_to_server()
    histories = set()

    def to_server(data):
        for one in listed(data):
            if one.get("replay") == "history":
                histories.add(one["id"])
        server.send(data)

    def to_page(data):
        kept = [
            one
            for one in listed(data)
            if not (one["op"] == "event" and one.get("sub") in histories)
        ]
        socket.send(json.dumps(kept))

    socket.on_message(to_server)
    server.on_message(to_page)


def listed(data: str) -> list[dict]:
    read = json.loads(data)
    return read if isinstance(read, list) else [read]
