"""A token in the page's address: who the reader is, told to whoever asks for it."""

import json

from playwright.async_api import Page, expect

from .looped import IN_BROWSER

pytestmark = IN_BROWSER

TOKEN = "a.secret-token~of/letters=="
LISTEN = """
    window.sent = [];
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (data) { sent.push(data); send.call(this, data); };
"""


async def asked(page: Page, text: str) -> dict[str, str]:
    """Ask on a dialect's page; the headers of its request."""
    await page.locator("#empty").wait_for()  # shown when it listens
    async with page.expect_request("**/api/**") as request:
        await page.get_by_label("Message", exact=True).fill(text)
        await page.keyboard.press("Enter")
    return await (await request.value).all_headers()


async def test_a_token_goes_along(start, open_chat):
    """Over HTTP and over WebSocket, from page to page; in the address it stands no more."""
    site = await start(namespaces={"agent.chat": {"options": {"worker_wait": 0.05}}})
    address = f"{site.url}/?dialect=octopus#access_token={TOKEN}"
    page = await open_chat(address, live=False, script=LISTEN)
    headers = await asked(page, "Hello?")
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in page.url
    await page.goto(f"{site.url}/?dialect=guide")
    headers = await asked(page, "Hello?")
    assert headers["authorization"] == f"Bearer {TOKEN}"
    await expect(page.locator(".user .reason")).to_be_visible()

    await page.goto(site.url)
    await page.wait_for_selector("#connection[data-phase=live]")
    hello = json.loads(await page.evaluate("sent[0]"))
    assert (hello["op"], hello["token"]) == ("hello", TOKEN)


async def test_without_one_nothing_is_said(start, open_chat):
    """Another tab has none; a page without one sends no empty header."""
    site = await start(namespaces={"agent.chat": {"options": {"worker_wait": 0.05}}})
    page = await open_chat(f"{site.url}/?dialect=octopus", live=False)
    assert "authorization" not in await asked(page, "Hello?")
