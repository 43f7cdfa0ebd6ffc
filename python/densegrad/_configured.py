"""Small objects that are told by their arguments: initialisers, metrics, schedules."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar


class Configured:
    """Keeps each argument of its constructor as an attribute of that name, and prints as the call that makes it."""

    _positional: ClassVar[int] = 1  # arguments that are clear without their names, if they have no default

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        shown = []
        for place, (name, parameter) in enumerate(inspect.signature(type(self)).parameters.items()):
            value = getattr(self, name)
            if parameter.default is not parameter.empty:
                shown += [f"{name}={value!r}"] if value != parameter.default else []
            else:
                shown.append(repr(value) if place < self._positional else f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"
