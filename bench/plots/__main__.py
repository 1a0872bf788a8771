"""``python -m bench.plots RESULT.json FOLDER``."""

import sys
from pathlib import Path

from bench.plots import draw

if __name__ == "__main__":
    for path in draw(Path(sys.argv[1]), Path(sys.argv[2])):
        print(path)
