"""docs/examples: what they set is a setting."""

import re
from pathlib import Path

import pytest

from broker import config

ROOT = Path(__file__).parents[2]
EXAMPLES = [path for path in (ROOT / "docs/examples").iterdir() if path.suffix != ".conf"]
SET = re.compile(r'(EDGESTREAM_\w+)(?:=|: )"?([^"\s]+)')


def test_there_are_examples():
    """The files that docs/operations.md tells of."""
    names = {path.name for path in EXAMPLES}
    assert names == {"Dockerfile", "compose.yaml", "edgestream@.service"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_what_an_example_sets_is_a_setting(path):
    """Its variables, all at once, fit the shipped configuration."""
    variables = dict(SET.findall(path.read_text("utf-8")))
    assert variables or path.name == "Dockerfile"
    config.load(ROOT / "config.toml", variables)
