"""What the browser tests share: a Chromium, and chat pages opened in it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page
from pytest_asyncio import is_async_test
from sites import Site, starting

from .backend import Backend, backend
from .chromium import chromium
from .looped import lasting

Open = Callable[..., Awaitable[Page]]
Work = Callable[[Any], Awaitable[Backend]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests here run on the loop that the Chromium is driven on."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@lasting(scope="session")
async def driven(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """One Chromium for all tests: to start one takes longer than most of them."""
    async with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@lasting
async def browser(driven: Browser) -> AsyncIterator[Browser]:
    """A browser without pages; what a test opens in it is gone with the test."""
    yield driven
    for context in driven.contexts:
        await context.close()


@lasting
async def start() -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Starts brokers: `site = await start(limits={"max_subscriptions": 2})`."""
    async with starting() as begin:
        yield begin


@lasting
async def site(start: Callable[..., Awaitable[Site]]) -> Site:
    """A broker with the shipped configuration, on a free port."""
    return await start()


@lasting
async def open_chat(browser: Browser) -> AsyncIterator[Open]:
    """Opens a chat page at an address and waits until it is live.

    `script` runs in it before its own ones, also after a reload.

    A script error or a breach of the page's content security policy fails the test.
    """
    mistakes: list[str] = []

    async def open(url: str, *, live: bool = True, script: str = "", **options: Any) -> Page:
        context = await browser.new_context(**options)
        page = await context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("console", lambda message: _note(message.type, message.text, mistakes))
        await page.add_init_script(script)
        await page.goto(url)
        if live:
            await page.wait_for_selector("#connection[data-phase=live]")
        return page

    yield open
    assert mistakes == []


@lasting
async def work() -> AsyncIterator[Work]:
    """Starts backends that take questions, at a broker of the test's own."""
    async with AsyncExitStack() as stack:

        async def begin(site: Any) -> Backend:
            agent = await stack.enter_async_context(backend(site.ws))
            await agent.work()
            return agent

        yield begin


@lasting
async def agent(site: Any, work: Work) -> Backend:
    """A backend that takes questions."""
    return await work(site)


@lasting
async def page(site: Any, open_chat: Open) -> Page:
    """A chat page in a session of its own."""
    return await open_chat(site.url)


def _note(kind: str, text: str, mistakes: list[str]) -> None:
    # Chromium logs every lost connection as an error, and each 503: some tests mean to have them.
    meant = text.startswith("WebSocket connection to") or "status of 503" in text
    if kind == "error" and not meant:
        mistakes.append(text)
