"""The chat front ends that this broker answers to, each in its own words."""

from collections.abc import Mapping

from plugins.agent.dialects.base import Dialect
from plugins.agent.dialects.guide import Guide
from plugins.agent.dialects.octopus import Octopus
from plugins.agent.dialects.opshub import OpsHub
from plugins.agent.dialects.strakly import Strakly

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect for dialect in (Octopus(), Guide(), OpsHub(), Strakly())
}
"""Each dialect, by its name."""
