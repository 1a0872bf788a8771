"""The page's connection: how it is shown, lost, found again and refused."""

import json
import re

import pytest
from playwright.async_api import expect

from .backend import Turn
from .link import Link
from .looped import IN_BROWSER, lasting
from .test_widget import ask, state

pytestmark = IN_BROWSER

COUNTDOWN = re.compile(r"^Reconnecting in \d+ s$")


@lasting
async def link(site):
    link = Link(site.url)
    await link.restore()
    yield link
    await link.cut()


async def phase(page, phase: str) -> None:
    await expect(page.locator("#connection")).to_have_attribute("data-phase", phase)


async def test_a_loss_is_shown_and_mended(link, open_chat, agent):
    """The reader sees that and when the page tries again; nothing in between is missed."""
    page = await open_chat(link.url)
    await expect(page.locator("#connection .label")).to_have_text("Live")
    await ask(page, "Hello?")
    turn = Turn(agent, await agent.question())
    await turn.started()
    await turn.text("one ")
    await state(page, "text")

    await link.cut()
    await expect(page.locator("#connection .label")).to_have_text(COUNTDOWN)
    await expect(page.locator("#agent")).to_have_attribute("data-status", "unknown")
    await turn.text("two ", "three")

    await link.restore()
    await phase(page, "live")
    await expect(page.locator(".turn .text")).to_have_text("one two three")
    await expect(page.locator(".turn")).to_have_attribute("data-state", "text")
    await turn.completed()
    await state(page, "done")


async def test_a_question_asked_during_a_loss_arrives_once(link, open_chat, agent):
    """It waits on the page, goes out with the next connection, and is not repeated."""
    page = await open_chat(link.url)
    await link.cut()
    await phase(page, "waiting")
    await ask(page, "Are you there?")
    await expect(page.locator(".user")).to_have_attribute("data-state", "sending")
    await link.restore()
    question = await agent.question()
    assert question["text"] == "Are you there?"
    turn = Turn(agent, question)
    await turn.started()
    await turn.completed(fullText="Yes.")
    await state(page, "done")
    await expect(page.locator(".user")).to_have_count(1)


async def test_the_reader_can_try_at_once(link, own_tabs):
    """Nobody has to wait for a countdown: here the page's clock stands still."""
    page = await own_tabs.new_page()
    await page.clock.install(time=0)
    await page.goto(link.url)
    await phase(page, "live")
    await page.clock.pause_at(60_000 * 60)
    await link.cut()
    await expect(page.locator("#connection .label")).to_have_text("Reconnecting in 1 s")
    await link.restore()
    await page.get_by_role("button", name="Try now").click()
    await phase(page, "live")


async def test_a_silent_connection_is_given_up(site, tabs):
    """A link that is dead without saying so is noticed after 1.5 heartbeats."""
    page = await tabs.new_page()
    connections = []

    async def first_one_goes_deaf(socket):
        connections.append(socket)
        deaf = len(connections) == 1
        server = socket.connect_to_server()
        server.on_message(lambda data: socket.send(with_heartbeat(data, 50) if deaf else data))
        if deaf:
            socket.on_message(lambda data: None)

    await page.route_web_socket("**/ws/chat", first_one_goes_deaf)
    await page.goto(site.url)
    await expect(page.locator("#agent")).to_have_text("No agent is online")
    await phase(page, "live")
    assert len(connections) == 2


def with_heartbeat(data: str, heartbeat: int) -> str:
    """A message of the broker whose welcome promises a heartbeat that will not come."""
    messages = json.loads(data)
    for message in messages if isinstance(messages, list) else [messages]:
        if message["op"] == "welcome":
            message["heartbeatMs"] = heartbeat
    return json.dumps(messages)


@pytest.mark.parametrize(
    ("code", "label"), [(4001, "Sign-in needed"), (4010, "Open elsewhere"), (4009, "Too bad")]
)
async def test_a_refusal_is_final_and_has_a_reason(site, tabs, code, label):
    """4000 to 4099: the page stays away, says why, and does not pretend to send."""
    page = await tabs.new_page()
    connections = []

    async def refuse(socket):
        connections.append(socket)
        await socket.close(code=code, reason="Too bad")

    await page.route_web_socket("**/ws/chat", refuse)
    await page.goto(site.url)
    await phase(page, "refused")
    await expect(page.locator("#connection .label")).to_have_text(label)
    await ask(page, "Hello?")
    await expect(page.locator(".user")).to_have_attribute("data-state", "failed")
    await expect(page.locator(".user .reason")).to_have_text("There is no connection.")
    await page.evaluate("window.dispatchEvent(new Event('online'))")
    await phase(page, "refused")
    assert len(connections) == 1


async def test_a_shutdown_is_no_refusal(site, tabs):
    """4100 to 4199: the page comes back by itself."""
    page = await tabs.new_page()
    connections = []

    async def shut_down_once(socket):
        connections.append(socket)
        if len(connections) == 1:
            await socket.close(code=4100, reason="shutting down")
        else:
            socket.connect_to_server()

    await page.route_web_socket("**/ws/chat", shut_down_once)
    await page.goto(site.url)
    await phase(page, "live")
    assert len(connections) == 2
