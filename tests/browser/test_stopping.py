"""The Stop button: who wants no more of an answer says so, and keeps what there is."""

from playwright.async_api import expect

from .backend import Turn
from .looped import IN_BROWSER, lasting
from .test_widget import ask, state

pytestmark = IN_BROWSER


@lasting
async def turn(agent, page):
    """A turn that has begun to write."""
    await ask(page, "Tell me a lot.")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.text("Once ", "upon ")
    await state(page, "text")
    return turn


def stop(page):
    return page.get_by_role("button", name="Stop")


async def stopping(page) -> None:
    await expect(page.locator(".turn")).to_have_attribute("data-stopping", "")
    await expect(page.locator(".turn .stopping")).to_be_visible()
    await expect(stop(page)).to_have_attribute("aria-disabled", "true")


async def stopped(page, text: str) -> None:
    await state(page, "done")
    await expect(page.locator(".turn .text")).to_have_text(text)
    await expect(page.locator(".turn .meta")).to_contain_text("Stopped")
    await expect(page.locator(".turn .stopping")).to_be_hidden()
    await expect(stop(page)).to_be_hidden()


async def test_stop_is_there_while_an_answer_is_written(page, turn):
    """It takes the place of a Send that has nothing to send, and goes with the turn."""
    send = page.get_by_role("button", name="Send")
    await expect(stop(page)).to_be_visible()
    await expect(send).to_be_hidden()
    await page.get_by_label("Message", exact=True).fill("And then?")
    await expect(send).to_be_visible()
    await expect(stop(page)).to_be_visible()
    await turn.completed()
    await expect(stop(page)).to_be_hidden()


async def test_the_agent_is_asked_to_stop_and_does(page, turn):
    """The page says so until the turn has ended; the text stays, also its last words."""
    await stop(page).click()
    assert (await turn.agent.cancel())["turnId"] == turn.id
    await stopping(page)
    await turn.text("a time")
    await expect(page.locator(".turn .text")).to_have_text("Once upon a time")
    await turn.completed(finishReason="cancelled")
    await stopped(page, "Once upon a time")
    await expect(page.locator("#announcer")).to_have_text("Stopped")


async def test_escape_stops_what_is_open_and_nothing_else(page, turn):
    """Every open turn is stopped, from wherever the focus is; a second time changes nothing."""
    await turn.completed()
    await state(page, "done")
    for id in ("turn-2", "turn-3"):
        await ask(page, "More.")
        other = Turn(turn.agent, await turn.agent.question(), id)
        await other.started()
        await state(page, "dots", id)
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    assert [(await turn.agent.cancel())["turnId"] for _ in range(2)] == ["turn-2", "turn-3"]
    await expect(page.locator(".turn[data-stopping]")).to_have_count(2)
    await ask(page, "Still there?")
    assert (await turn.agent.question())["text"] == "Still there?"
    assert not turn.agent.has_cancels


async def test_every_tab_sees_that_it_is_stopped(page, turn, open_chat):
    """Also one that comes later; and any of them may have asked."""
    other = await open_chat(page.url)
    await stop(other).click()
    await stopping(page)
    late = await open_chat(page.url)
    await stopping(late)
    await turn.completed(finishReason="cancelled")
    for tab in (page, other, late):
        await stopped(tab, "Once upon")


async def test_an_agent_that_does_not_answer_is_stopped_by_the_broker(start, open_chat, work):
    """After its grace the turn ends all the same, with the text so far."""
    site = await start(namespaces={"agent.chat": {"options": {"grace": 0.05}}})
    agent = await work(site)
    page = await open_chat(site.url)
    await ask(page, "Tell me a lot.")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.text("Once ", "upon ")
    await state(page, "text")
    await stop(page).click()
    await stopped(page, "Once upon")


async def test_the_focus_stays_when_stop_goes(page, turn):
    """Who stops with the keyboard can go on typing."""
    await stop(page).press("Enter")
    await stopping(page)
    await expect(stop(page)).to_be_focused()
    await turn.completed(finishReason="cancelled")
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()


async def test_a_turn_that_was_stopped_before_its_first_word(page, agent):
    """There is nothing to copy or to rate, and nothing moves."""
    await ask(page, "Tell me a lot.")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await state(page, "dots")
    await page.keyboard.press("Escape")
    await agent.cancel()
    await turn.completed(finishReason="cancelled")
    await state(page, "done")
    await expect(page.locator(".turn .meta")).to_contain_text("Stopped")
    await expect(page.locator(".turn .copy")).to_be_hidden()
    await expect(page.locator(".turn .dots")).to_be_hidden()
