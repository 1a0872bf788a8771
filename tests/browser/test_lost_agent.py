"""An agent that is lost in mid-answer: the page says so and offers to ask again."""

from playwright.async_api import expect

from .backend import Turn
from .looped import IN_BROWSER, lasting
from .test_widget import ask, state

pytestmark = IN_BROWSER

IMPATIENT = {"agent.chat": {"options": {"grace": 0.05}}}


@lasting
async def site(start):
    """A broker that does not wait long for agents."""
    return await start(namespaces=IMPATIENT)


@lasting
async def turn(agent, page):
    """A turn that has begun to write, and has a tool at work."""
    await ask(page, "What is the weather?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.text("Let me ")
    await turn.tool_started("get_weather")
    await state(page, "tool")
    return turn


def retry(page, turn: str = "turn-1"):
    return page.locator(f'[data-id="{turn}"]').get_by_role("button", name="Try again")


async def lost(page, text: str = "Let me") -> None:
    """The turn has ended in an error, with its text, and nothing of it moves."""
    await state(page, "error")
    row = page.locator('[data-id="turn-1"]')
    await expect(row.locator(".problem")).to_have_attribute("data-code", "publisher_lost")
    await expect(row.locator(".reason")).to_have_text("The agent was lost before it finished.")
    await expect(row.locator(".text")).to_have_text(text)
    await expect(row.locator(".activity")).to_be_hidden()
    await expect(row.locator(".text")).not_to_have_attribute("data-writing", "")
    await expect(page.get_by_role("button", name="Stop")).to_be_hidden()


async def test_a_killed_agent_shows_an_error_and_a_retry(site, page, turn, work):
    """The same question goes out under a new name, and another agent answers it."""
    turn.agent.die()
    await lost(page)
    other = await work(site)
    await retry(page).click()
    again = await other.question()
    assert again["text"] == "What is the weather?"
    assert again["messageId"] != turn.message_id
    answer = Turn(other, again, "turn-2")
    await answer.started()
    await answer.text("It is sunny.")
    await answer.completed()
    await state(page, "done", "turn-2")
    await expect(page.locator('[data-id="turn-2"] .text')).to_have_text("It is sunny.")
    await lost(page)


async def test_a_question_is_asked_again_once(site, page, turn, open_chat, work):
    """Whoever asked: the button goes from every tab, and stays away after a reload."""
    turn.agent.die()
    await work(site)
    other = await open_chat(page.url)
    await expect(retry(page)).to_be_visible()
    await retry(other).click()
    for tab in (page, other):
        await expect(tab.locator(".user .bubble")).to_have_text(["What is the weather?"] * 2)
        await lost(tab)
        await expect(retry(tab)).to_be_hidden()
    await expect(other.get_by_label("Message", exact=True)).to_be_focused()
    await page.reload()
    await lost(page)
    await expect(retry(page)).to_be_hidden()


async def test_a_page_that_comes_after_the_loss_can_ask_again(site, page, turn, work):
    """The error, the text and the button are there after a reload."""
    turn.agent.die()
    await lost(page)
    await page.reload()
    await lost(page)
    other = await work(site)
    await retry(page).click()
    assert (await other.question())["text"] == "What is the weather?"


async def test_every_answer_of_a_killed_agent_can_be_retried(site, page, turn, work):
    """Two that were open are two errors, each with its own question."""
    await ask(page, "And tomorrow?")
    second = Turn(turn.agent, await turn.agent.question(), "turn-2")
    await second.started()
    await state(page, "dots", "turn-2")
    turn.agent.die()
    await work(site)
    await lost(page)
    await state(page, "error", "turn-2")
    await retry(page).click()
    await expect(retry(page)).to_be_hidden()
    await expect(retry(page, "turn-2")).to_be_visible()
    await retry(page, "turn-2").click()
    await expect(page.locator(".user .bubble")).to_have_text(
        ["What is the weather?", "And tomorrow?"] * 2
    )
