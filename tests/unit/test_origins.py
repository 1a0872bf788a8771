"""Which web pages may open a connection."""

import pytest

from broker.transports.origins import origin_allowed


def allowed(origin, host, origins=(), *, proxied=False):
    return origin_allowed([origin] if origin else [], [host], origins, proxied=proxied)


@pytest.mark.parametrize(
    ("origin", "host", "wanted"),
    [
        (None, "127.0.0.1:8080", True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://localhost:5173", "127.0.0.1:8080", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("https://evil.example", "127.0.0.1:8080", False),
        ("http://evil.example:8080", "evil.example:8080", False),  # a name that points here
        ("null", "127.0.0.1:8080", False),
        ("http://[", "127.0.0.1:8080", False),
    ],
)
def test_only_pages_of_this_machine(origin, host, wanted):
    """No page of the web reaches a broker on its reader's machine, by whatever name."""
    assert allowed(origin, host) is wanted


def test_pages_that_are_listed_or_the_broker_s_own_behind_a_proxy():
    """A listed origin may; where others are let in, so may the host that the request names."""
    page, host = "https://chat.example", "chat.example"
    assert not allowed(page, host)
    assert allowed(page, host, [page])
    assert allowed(page, host, ["*"])
    assert allowed(page, host, proxied=True)
    assert not allowed(page, "other.example", proxied=True)
