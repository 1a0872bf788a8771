"""The chat front ends that this broker answers to, each in its own words."""

from collections.abc import Mapping

from plugins.agent.dialects.base import Dialect

DIALECTS: Mapping[str, Dialect] = {}
"""Each dialect, by its name."""
