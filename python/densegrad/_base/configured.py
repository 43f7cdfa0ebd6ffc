"""Objects that print as the call that makes them: layers, losses, optimisers, schedules, metrics, models."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, ClassVar

REQUIRED = inspect.Parameter.empty  # in the place of a default


class Configured:
    """Keeps each argument of its constructor as an attribute of that name, and prints as the call that makes it."""

    _positional: ClassVar[int] = 1  # arguments that are clear without their names

    @classmethod
    @cache  # reading a signature takes as long as many a step
    def defaults(cls) -> dict[str, Any]:
        """The constructor's defaults by name, ``REQUIRED`` where there is none."""
        parameters = inspect.signature(cls).parameters.values()
        return {each.name: each.default for each in parameters if each.kind is not each.VAR_KEYWORD}

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in self.defaults()}

    def __repr__(self) -> str:
        shown = []
        for place, ((name, value), default) in enumerate(
            zip(self.arguments().items(), self.defaults().values(), strict=True)
        ):
            if default is REQUIRED and place < self._positional:
                shown.append(repr(value))
            elif default is REQUIRED or value != default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"
