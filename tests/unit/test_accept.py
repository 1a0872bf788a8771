"""The header `Accept`, read."""

import pytest

from broker.accept import preferred

STREAM, JSON = "text/event-stream", "application/json"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/event-stream", STREAM),
        ("Text/Event-Stream; charset=utf-8", STREAM),
        ("text/*", STREAM),
        ("application/*", JSON),
        ("text/event-stream, */*", STREAM),
        ("application/json, text/plain, */*", JSON),
        ("text/event-stream, application/json", STREAM),
        ("application/json, text/event-stream", JSON),
        ("text/event-stream;q=0.5, application/json", JSON),
        ("text/event-stream;q=0.5, application/json;q=0.4", STREAM),
        ("text/event-stream;q=0, */*", JSON),
        ("text/event-stream; q=0.0, application/json; q=0", None),
        ("application/json;q=0, */*;q=0.1", STREAM),
        ("text/event-stream;q=0.1, text/*;q=0.9, application/json;q=0.5", JSON),
        ("image/png", None),
        ("text/event-streams", None),
        ("application/x-text/event-stream", None),
        ('image/png;a="x, text/event-stream"', None),
        ("text/event-stream;q=high", None),
        ("text/event-stream;q=nan, application/json;q=1.000", JSON),
        (", ,", None),
        ('text/event-stream;a="', STREAM),
    ],
)
def test_what_is_preferred(accept, wanted):
    """By weight, then by how exactly it is named, then by place; what is not named, is not."""
    assert preferred(accept, (JSON, STREAM)) == wanted
