"""The page: asking, sharing an address, failing to send, scrolling."""

import pytest
from playwright.async_api import expect

from .backend import Turn
from .looped import IN_BROWSER
from .test_widget import ask, state

pytestmark = IN_BROWSER

LINES = [f"Line {number}\n" for number in range(80)]


async def test_a_new_page_gets_a_session_and_a_welcome(page):
    """The address names the session, so it can be shared; starters ask for the user."""
    assert "?session=" in page.url
    await expect(page.get_by_role("heading", name="How can I help?")).to_be_visible()


async def test_a_starter_is_asked(page, agent):
    """A suggested question goes out at a click, and the welcome makes room."""
    starter = page.locator(".starter").first
    text = await starter.get_attribute("data-ask")
    await starter.click()
    assert (await agent.question())["text"] == text
    await expect(page.locator("#empty")).to_be_hidden()


async def test_enter_sends_and_shift_enter_does_not(page, agent):
    """One keystroke sends; a longer question can have lines."""
    await page.get_by_label("Message", exact=True).focus()
    await page.keyboard.type("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await page.keyboard.press("Enter")
    assert (await agent.question())["text"] == "one\ntwo"
    await expect(page.get_by_label("Message", exact=True)).to_have_value("")


async def test_a_question_is_shown_once(page, agent):
    """It appears at once, and the broker's own event of it does not repeat it."""
    await ask(page, "Hello?")
    await expect(page.locator(".user .bubble")).to_have_text("Hello?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await state(page, "dots")
    await expect(page.locator(".user")).to_have_count(1)
    await expect(page.locator(".user")).to_have_attribute("data-state", "answered")


async def test_two_tabs_show_the_same(page, open_chat, agent):
    """Both show question and answer, live, whichever of them asked."""
    other = await open_chat(page.url)
    await ask(page, "Hello?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.text("Hi ", "there.")
    for tab in (page, other):
        await state(tab, "text")
        await expect(tab.locator(".user .bubble")).to_have_text("Hello?")
        await expect(tab.locator(".turn .text")).to_have_text("Hi there.")
    await turn.completed()
    await ask(other, "Bye.")
    await agent.question()
    for tab in (page, other):
        await state(tab, "done")
        await expect(tab.locator(".user .bubble")).to_have_text(["Hello?", "Bye."])


async def test_a_tab_that_comes_later_joins_the_answer(page, open_chat, agent):
    """It joins the open turn with all the text so far, and follows it from there."""
    await ask(page, "Hello?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.text("Hi ")
    late = await open_chat(page.url)
    await state(late, "text")
    await turn.text("there.")
    await expect(late.locator(".turn .text")).to_have_text("Hi there.")
    await turn.completed()
    await state(late, "done")


async def test_other_sessions_stay_out(page, open_chat, site, agent):
    """A conversation is seen at its own address only."""
    other = await open_chat(site.url)
    await ask(page, "Hello?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.completed(fullText="Hi.")
    await state(page, "done")
    await ask(other, "Me too?")
    await agent.question()
    await expect(other.locator(".user .bubble")).to_have_text("Me too?")
    await expect(other.locator(".turn")).to_have_count(0)


async def test_a_question_that_nobody_is_there_for_can_be_sent_again(start, open_chat, work):
    """Its reason is told; once there is an agent, the same message goes through."""
    site = await start(namespaces={"agent.chat": {"options": {"worker_wait": 0.05}}})
    page = await open_chat(site.url)
    await ask(page, "Anyone there?")
    row = page.locator(".user")
    await expect(row).to_have_attribute("data-state", "failed")
    await expect(row.locator(".problem")).to_contain_text("No agent is available right now.")
    await expect(row.locator(".problem")).to_have_attribute("data-code", "no_worker")

    agent = await work(site)
    await row.get_by_role("button", name="Try again").click()
    question = await agent.question()
    assert question["text"] == "Anyone there?"
    assert question["messageId"] == await row.get_attribute("data-id")
    await expect(row).to_have_attribute("data-state", "sent")
    await expect(row.locator(".problem")).to_be_hidden()
    await expect(row).to_have_count(1)


async def test_a_question_that_no_agent_takes_up_can_be_asked_again(start, open_chat, work):
    """The broker gives it up: the page says so, and offers to ask anew."""
    site = await start(namespaces={"agent.chat": {"options": {"start_limit": 0.05}}})
    silent = await work(site)
    page = await open_chat(site.url)
    await ask(page, "Anyone there?")
    first = await silent.question()
    row = page.locator(".user").first
    await expect(row).to_have_attribute("data-state", "unanswered")
    await expect(row.locator(".problem")).to_contain_text("The agent did not respond.")
    await row.get_by_role("button", name="Try again").click()
    again = await silent.question()
    assert again["text"] == first["text"]
    turn = Turn(silent, again)
    await turn.started()
    await turn.completed(fullText="Yes.")
    await state(page, "done")


@pytest.mark.parametrize("length", [300_000, 1_100_000])
async def test_a_question_that_is_too_long_is_refused_alone(page, agent, length):
    """Over the limit of a body or of a whole message, the page and its connection live on."""
    await ask(page, "x" * length)
    row = page.locator(".user")
    await expect(row).to_have_attribute("data-state", "failed")
    await expect(row.locator(".problem")).to_contain_text("This message is too long to send.")
    await ask(page, "Hello?")
    assert (await agent.question())["text"] == "Hello?"
    await expect(page.locator("#connection")).to_have_attribute("data-phase", "live")


async def test_a_reader_at_the_end_stays_there(page, agent):
    """Growing text is followed by whoever reads its end."""
    await ask(page, "Tell me a lot.")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.text(*LINES)
    await turn.completed()
    await state(page, "done")
    await expect(page.locator(".turn .actions")).to_be_in_viewport()
    await expect(page.locator("#jump")).to_be_hidden()


async def test_a_reader_further_up_is_left_alone(page, agent):
    """Who scrolled up is not moved, and has a way back to the end."""
    await ask(page, "Tell me a lot.")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.text(*LINES)
    await expect(page.locator(".turn .text")).to_contain_text("Line 79")
    await page.evaluate("document.getElementById('scroller').scrollTop = 0")
    jump = page.get_by_role("button", name="Jump to latest")
    await expect(jump).to_be_visible()
    await turn.text("More\n")
    await expect(page.locator(".turn .text")).to_contain_text("More")
    assert await page.evaluate("document.getElementById('scroller').scrollTop") == 0
    await turn.completed()
    await jump.click()
    await expect(page.locator(".turn .actions")).to_be_in_viewport()
    await expect(jump).to_be_hidden()


async def test_the_agents_status_is_shown(page, agent):
    """The header says who is there, and how they are."""
    await agent.publish("agent.status", agentId="demo", status="online")
    await expect(page.locator("#agent")).to_have_attribute("data-status", "online")
    await expect(page.locator("#agent")).to_have_text("demo is online")
    await agent.publish("agent.status", agentId="demo", status="busy")
    await expect(page.locator("#agent")).to_have_text("demo is busy")


async def test_a_phone_has_no_sideways_scrolling(site, open_chat, agent):
    """Long words, long tool names and code wrap within a narrow screen."""
    page = await open_chat(site.url)
    await page.set_viewport_size({"width": 360, "height": 640})
    await ask(page, "x" * 400)
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.tool_started("a_tool_" * 30)
    await state(page, "tool")
    await turn.tool_completed()
    await turn.text("y" * 400)
    await state(page, "text")
    assert await page.evaluate(
        "['scroller', 'rows'].every((id) => { const box = document.getElementById(id);"
        " return box.scrollWidth <= box.clientWidth; })"
    )
