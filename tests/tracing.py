"""Run stages, each in its own process, and print which functions of palette they call.

`python -m tests.tracing SPEC …` prints JSON: kind of stage → module → first lines of the functions.
"""

import json
import os
import sys
import tempfile
import threading
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import FrameType
from typing import Any

import palette
from palette.stages.stage import Stage

PACKAGE = Path(palette.__file__).parent
Lines = dict[str, list[int]]


def traced(spec_file: Path) -> Lines:
    """Run a stage; return module → first lines of the functions that it called."""
    stage = Stage.read(spec_file)
    called: set[tuple[str, int]] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    threading.setprofile(note)
    sys.setprofile(note)
    if stage.spec.shards:
        stage.run(0)
    else:
        stage.run()
    sys.setprofile(None)
    lines = defaultdict(list)
    for name, line in called:
        if Path(name).is_relative_to(PACKAGE) and name.endswith(".py"):  # and not a template, whose bytes count
            module = ".".join(("palette", *Path(name).relative_to(PACKAGE).with_suffix("").parts))
            lines[module.removesuffix(".__init__")].append(line)
    return lines


def forked(spec_file: Path) -> Lines:
    """The same in a process of its own, so that nothing is kept from an earlier stage."""
    with tempfile.NamedTemporaryFile("r+") as file:
        child = os.fork()
        if not child:
            status = 1
            try:
                Path(file.name).write_text(json.dumps(traced(spec_file)))
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0, spec_file
        return dict(json.load(file))


if __name__ == "__main__":
    for module in walk_packages(palette.__path__, "palette."):  # once for all children, and so that no import is traced
        if module.name != "palette.__main__":
            import_module(module.name)
    found: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for name in sys.argv[1:]:
        for module, lines in forked(Path(name)).items():
            found[Stage.read(Path(name)).spec.kind][module] |= set(lines)
    print(json.dumps({kind: {m: sorted(x) for m, x in modules.items()} for kind, modules in found.items()}))
