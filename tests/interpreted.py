"""A plugin of pytest (`-p tests.interpreted`): the modules that are compiled run as plain Python.

That is how they run where no C compiler was, and it lets a test look into them.
"""

import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
_SOURCES = FileFinder.path_hook((SourceFileLoader, SOURCE_SUFFIXES))


def _ours(path: str) -> FileFinder:
    inside = Path(path).resolve()
    if not any(inside.is_relative_to(ROOT / name) for name in ("broker", "plugins")):
        raise ImportError(f"not the project's own: {path}")
    return _SOURCES(path)


# Compiled, they have been through all examples before.
settings.register_profile("again", max_examples=25)
settings.load_profile("again")
sys.path_hooks.insert(0, _ours)
sys.path_importer_cache.clear()
