"""The bars: reached, missed, or not decided, read off the report's rows."""

import math

import pytest

from bench import bars
from bench.report import Row

CPU = "cpu µs/token"


def row(scenario: str, variant: str, system: str = "edgestream", **medians: float) -> Row:
    named = {name.replace("_", " "): value for name, value in medians.items()}
    return Row(scenario=scenario, variant=variant, system=system, runs=3, valid=True, medians=named)


def cpu(
    scenario: str, variant: str, value: float, system: str = "edgestream", base: str = ""
) -> Row:
    return Row(
        scenario=scenario, variant=variant, system=system, runs=3, valid=True,
        medians={CPU: value}, base=base,
    )  # fmt: skip


def reached(*rows: Row) -> dict[str, bool | None]:
    return {verdict.name: verdict.reached for verdict in bars.verdicts(rows)}


@pytest.mark.parametrize(
    ("mine", "rival", "expected"), [(4.9, 1.0, True), (6.0, 7.0, True), (6.0, 3.0, False)]
)
def test_a_bystander_may_wait_as_long_as_with_nats(
    mine: float, rival: float, expected: bool
) -> None:
    """Or 5 ms, if that is more."""
    found = reached(
        row("flood", "arrays", p99_ms=mine, **{"tokens/s": 1.0}),
        row("flood", "arrays", "nats-server", p99_ms=rival),
    )

    assert found["flood, arrays: bystander p99"] is expected
    assert found["flood, arrays: tokens/s"] is False


def test_what_failed_decides_nothing() -> None:
    """Neither reached nor missed, and why is told; what was not asked for is left out."""
    failed = Row(
        scenario="flood", variant="arrays", system="nats-server", runs=0, valid=False, medians={}
    )
    flood = row("flood", "arrays", p99_ms=6.0, **{"tokens/s": 600_000.0})
    first, second = bars.verdicts([flood, failed])

    assert (first.reached, second.reached) == (None, True)
    assert first.measured == "nats-server, arrays: failed"
    assert "| ?" in "\n".join(bars.table([first]))


def test_a_figure_is_compared_with_a_rivals_of_the_same_run() -> None:
    """CPU of a token: to the naive relay's, and to Bun's."""
    found = reached(
        cpu("sessions", "100/s, arrays", 8.0),
        cpu("sessions", "100/s, arrays", 10.0, "naive"),
        cpu("sessions", "100/s, arrays", 5.0, "bun"),
    )

    assert found["sessions, 100/s, arrays: CPU a token to naive's"] is True
    assert found["sessions, 100/s, arrays: CPU a token to Bun's"] is False


def test_a_figure_is_compared_with_its_base() -> None:
    """Many sessions with few, whatever their numbers are."""
    few = cpu("scaling", "20 sessions, arrays", 10.0)
    more = cpu("scaling", "200 sessions, arrays", 99.0, base=few.variant)
    most = cpu("scaling", "600 sessions, arrays", 11.9, base=few.variant)

    found = bars.verdicts([few, more, most])
    assert [verdict.reached for verdict in found] == [True]
    assert found[0].measured == "1.19 × (11.90 / 10.00)"


def test_server_sent_events_have_two_bars() -> None:
    """What they cost, to a WebSocket's and to FastAPI's, of the same load."""
    websocket = cpu("sse", "50/s, arrays, WebSocket", 10.0)
    mine = cpu("sse", "50/s, arrays, SSE", 14.0, base=websocket.variant)
    rival = cpu("sse", "50/s, arrays, SSE", 20.0, "fastapi")

    assert reached(websocket, mine, rival) == {
        "sse, 50/s, arrays: CPU a token to WebSocket's": True,
        "sse, 50/s, arrays: CPU a token to FastAPI's": False,
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"text_%": 99.9}, False),
        ({"alive_s": 30.0}, False),
        ({"p99_s": 1.1}, False),
        ({"last_third_p99_s": 0.9}, False),
    ],
)
def test_a_slow_reader_gets_all_in_time(change: dict[str, float], expected: bool) -> None:
    """All text, the connection lives, the bystander waits a second at most, and not longer."""
    good = {
        "text_%": 100.0, "alive_s": math.inf, "p99_s": 0.6,
        "first_third_p99_s": 0.5, "last_third_p99_s": 0.5,
    }  # fmt: skip
    found = reached(row("slow-reader", "TLS", **good | change))

    assert found == {"slow-reader, TLS": expected}
