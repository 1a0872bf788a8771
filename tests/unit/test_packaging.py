"""What the package's build needs."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_build_has_what_the_compiled_modules_import():
    """mypy follows their imports in pip's isolated build: where one is missing, nothing is
    compiled."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = set(project["project"]["dependencies"]) - {"mypy-extensions>=1.0"}  # mypy brings it
    assert needed <= set(project["build-system"]["requires"])


def test_the_container_has_what_says_how_to_compile():
    """The example's image is built from setup.py as well."""
    container = (ROOT / "docs" / "examples" / "Dockerfile").read_text()
    assert "COPY pyproject.toml setup.py README.md" in container
