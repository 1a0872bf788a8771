"""The pages of the dialects against a broker, with the demo agent behind it."""

import asyncio
from contextlib import asynccontextmanager

from playwright.async_api import expect

from plugins.agent.client import connect
from plugins.agent.demo.agent import AGENT, DemoAgent
from plugins.agent.dialects import DIALECTS

from .looped import IN_BROWSER

pytestmark = IN_BROWSER

TURN = "A turn is one answer of an agent"


@asynccontextmanager
async def demo(url: str, rate: float, sleep=None):
    """The demo agent, online; without its pauses."""
    async with connect(url) as client, client.subscribe("agent.status", AGENT) as status:
        agent = DemoAgent(rate, sleep=sleep or (lambda seconds: asyncio.sleep(0)))
        task = asyncio.create_task(agent.worker.run(client))
        await anext(status)
        yield client
        task.cancel()
        await asyncio.wait([task])


async def ask(page, text):
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def test_every_page_shows_everything(start, open_chat):
    """The text, and what else the dialect has: through the gateway, wherever it is mounted."""
    dialects = {"octopus": {"prefix": "/else/where"}}
    site = await start(namespaces={"agent.chat": {"options": {"dialects": dialects}}})
    async with demo(site.ws, 1000):
        for name in DIALECTS:
            page = await open_chat(f"{site.url}/?dialect={name}", live=False)
            await page.locator(".starter").first.click()
            row = page.locator(".turn")
            await expect(row).to_have_attribute("data-state", "done")
            await expect(row.locator(".text")).to_contain_text(TURN)
            await expect(row.locator(".tools li")).to_have_count(2)
            await expect(row.locator(".suggestion")).to_have_count(
                2 if name in ("guide", "strakly") else 0
            )
            if name == "guide":
                await expect(row.locator(".meta")).to_contain_text("saved")
            await page.close()


async def test_stop_of_opshub_stops_the_turn(start, open_chat):
    """Its front end closes the connection, and the agent's turn is cancelled."""
    site = await start(namespaces={"agent.chat": {"options": {"cancel_grace": 0.05}}})
    page = await open_chat(f"{site.url}/?dialect=opshub", live=False)
    pauses = 0

    async def sleep(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses > 6:  # in the middle of its text
            await asyncio.Event().wait()

    async with demo(site.ws, 1000, sleep) as client, client.subscribe("agent.chat.*") as events:
        await page.locator("#empty").wait_for()
        await ask(page, "What is a turn?")
        await expect(page.locator(".turn .text")).to_contain_text("You")
        await page.get_by_role("button", name="Stop").click()
        async for event in events:
            if event.topic == "agent.chat.turnCompleted":
                assert event.body["finishReason"] == "cancelled"
                break
    await expect(page.locator(".meta")).to_contain_text("Stopped")


async def test_without_an_agent(start, open_chat):
    """The question says that nobody is there; one that is not served has no page."""
    options = {"worker_wait": 0.05, "dialects": {"strakly": {"enabled": False}}}
    site = await start(namespaces={"agent.chat": {"options": options}})
    page = await open_chat(f"{site.url}/?dialect=strakly")
    await expect(page.get_by_role("link", name="Strakly")).to_have_count(0)
    await page.get_by_role("link", name="Octopus").click()
    await page.locator(".starter").first.click()
    await expect(page.locator(".user .reason")).to_have_text("No agent is available right now.")
