"""Tests with a browser share a loop, and so the browser: to start one takes longer than most."""

from functools import partial

import pytest
import pytest_asyncio

IN_BROWSER = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
"""The `pytestmark` of such a module. (A marker that comes later, as items are collected, is too
late: their loop would end with each of them, and the browser with it.)"""

lasting = partial(pytest_asyncio.fixture, loop_scope="session")
"""A fixture on that loop, which lasts; one of each test's own as any other."""
