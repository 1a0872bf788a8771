"""JSON Schemas of the types that messages are checked by, for generated documents."""

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

import msgspec

SCHEMAS = "#/components/schemas/"
"""Where a document has those with a name."""

Document = dict[str, Any]


def schemas(kinds: Iterable[Any]) -> tuple[dict[Any, Document], dict[str, Document]]:
    """The schema of each type, and the named ones that these refer to."""
    unique = list(dict.fromkeys(kinds))
    made, components = msgspec.json.schema_components(unique, ref_template=SCHEMAS + "{name}")
    for component in components.values():
        if "description" in component:
            component["description"] = cleandoc(component["description"])
    return dict(zip(unique, made, strict=True)), components
