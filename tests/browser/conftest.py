"""What the browser tests share: a Chromium, and chat pages opened in it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page
from sites import Site, starting

from .backend import Backend, backend
from .chromium import chromium
from .looped import lasting

Open = Callable[..., Awaitable[Page]]
Work = Callable[[Any], Awaitable[Backend]]


@lasting(scope="session")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """One Chromium for all tests: to start one takes longer than most of them."""
    async with chromium(tmp_path_factory.mktemp("chromium")) as it:
        yield it


@lasting(scope="session")
async def profile(browser: Browser) -> AsyncIterator[BrowserContext]:
    """One profile for all pages: a profile and a process of its own cost more than a page."""
    context = await browser.new_context()
    await context.new_page()  # keeps the process that the pages share
    yield context


@lasting
async def tabs(profile: BrowserContext) -> AsyncIterator[BrowserContext]:
    """Where a test opens its pages; they are gone with it, and so is what they were allowed.

    What pages store is their broker's, by its port, and each test has brokers of its own. A
    clock that is moved by hand is the whole profile's: such a test has one of its own.
    """
    yield profile
    for page in profile.pages[1:]:
        await page.close()
    await profile.clear_permissions()


@lasting
async def own_tabs(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A profile of the test's own."""
    async with await browser.new_context() as context:
        yield context


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
async def open_chat(tabs: BrowserContext) -> AsyncIterator[Open]:
    """Opens a chat page at an address and waits until it is live.

    `script` runs in it before its own ones, also after a reload; it may use what `permissions`
    say, and nothing else.

    A script error or a breach of the page's content security policy fails the test.
    """
    mistakes: list[str] = []

    async def open(
        url: str,
        *,
        live: bool = True,
        script: str = "",
        permissions: Sequence[str] = (),
        inside: BrowserContext = tabs,
    ) -> Page:
        page = await inside.new_page()
        if permissions:
            await inside.grant_permissions(permissions)
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
