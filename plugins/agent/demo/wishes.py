"""What a question asks to be shown, beyond its answer.

| word | what the demo agent does |
|---|---|
| ``progress`` | it works in steps, and tells how far it is |
| ``tools`` | it calls a second tool |
| ``dark``, ``light`` | it asks the page for that theme (`agent.chat.action`) |
| ``save`` | it keeps the answer, and says so (`agent.chat.messageSaved`) |
| ``fail`` | it fails in the middle of the answer |
| ``everything`` | all of these, but for the failure |
"""

import re

from msgspec import Struct

STEPS = ((10, "Reading the question"), (40, "Looking around"), (80, "Putting it together"))
DONE = (100, "Ready to answer")


class Wishes(Struct, frozen=True):
    """Attributes: `theme` is ``dark``, ``light`` or nothing."""

    progress: bool
    tools: bool
    theme: str
    save: bool
    fail: bool


def wishes(question: str) -> Wishes:
    """What `question` asks to be shown."""
    words = re.findall(r"[a-z]+", question.lower())
    everything = "everything" in words
    themes = [word for word in words if word in ("dark", "light")]
    return Wishes(
        progress=everything or "progress" in words,
        tools=everything or "tools" in words,
        theme=themes[0] if themes else "dark" if everything else "",
        save=everything or "save" in words,
        fail="fail" in words,
    )
