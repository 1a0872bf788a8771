"""What the figures were measured on: part of every result."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import environment
from bench.systems import System


def describe(systems: Iterable[System]) -> dict[str, Any]:
    """The machine and the versions of what `systems` are made of."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.*)", info)
    names = {name for s in systems for name in (*s.packages, *s.pip, *s.npm)}
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "tcp": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "python": platform.python_version(),
        "versions": {name: environment.version(name) for name in sorted(names)} | _node(systems),
        "load": os.getloadavg(),
    }


def _node(systems: Iterable[System]) -> dict[str, str]:
    if not any(system.command[0] == "node" for system in systems) or not shutil.which("node"):
        return {}
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return {"node": said.stdout.strip().removeprefix("v")}
