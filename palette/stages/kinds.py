"""All kinds of stages, each after the kinds that it reads."""

from palette.stages.base import Spec
from palette.stages.listing import listed
from palette.stages.reading import class_of

KINDS: dict[str, type[Spec]] = {kind: class_of(kind) for kind in listed()}
