"""The scenarios, by their names."""

from collections.abc import Awaitable, Callable

from ..run import Run
from .asked import asked
from .clock import clock
from .crash import crash
from .kill import forget, kill
from .resume import resume
from .slow import slow
from .stop import stop
from .storm import storm
from .workers import workers

SCENARIOS: dict[str, Callable[[Run], Awaitable[None]]] = {
    scenario.__name__: scenario
    for scenario in (storm, crash, kill, forget, slow, stop, workers, clock, resume, asked)
}
