"""All kinds of stages, found by listing the modules next to this one."""

from collections.abc import Iterator
from contextlib import suppress
from graphlib import TopologicalSorter

from palette.stages.base import Spec
from palette.stages.reading import MODULES, class_of


def _found() -> Iterator[type[Spec]]:
    for module in MODULES:
        if module != "kinds":
            with suppress(KeyError):  # a module that all kinds share
                yield class_of(module)


def _ordered(classes: dict[str, type[Spec]]) -> dict[str, type[Spec]]:
    """Return kind → its class, each after the kinds that it reads."""
    order = TopologicalSorter({kind: spec.reads for kind, spec in classes.items()})
    return {kind: classes[kind] for kind in order.static_order()}


KINDS: dict[str, type[Spec]] = _ordered({spec.kind: spec for spec in _found()})
