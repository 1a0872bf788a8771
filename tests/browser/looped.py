"""Fixtures of the tests with a browser: they share its loop, so that it starts only once."""

from functools import partial

import pytest_asyncio

lasting = partial(pytest_asyncio.fixture, loop_scope="session")
"""A fixture on that loop, which lasts; one of each test's own as any other."""
