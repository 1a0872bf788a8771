"""The scenarios; a new one is a module with a `Scenario`, and one more entry here."""

from bench.scenario import Scenario
from bench.scenarios import (
    engines,
    fanout,
    flood,
    idle,
    noisy,
    resume,
    scaling,
    sessions,
    slow,
    sse,
)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        sessions.SESSIONS,
        flood.FLOOD,
        noisy.NOISY,
        slow.SLOW,
        fanout.FAN_OUT,
        scaling.SCALING,
        sse.SERVER_SENT,
        idle.IDLE,
        engines.ENGINES,
        resume.RESUME,
    )
}
