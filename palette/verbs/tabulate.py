"""The tables of the config → `<table>.csv`, `.md`, `.tex`."""

from palette.files import write_text
from palette.publish.formats import FORMATS
from palette.publish.tables import build
from palette.spec import TabulateSpec
from palette.stage import Stage


def run(stage: Stage[TabulateSpec]) -> None:
    """Write every table in every format, and leave no other."""
    stage.forget_cards()
    artifacts = []
    for name, table in stage.spec.tables.items():
        grid = build(name, table, stage.spec.rows, stage.results)
        for ending, writer in FORMATS.items():
            artifacts.append(f"{name}.{ending}")
            write_text(stage.path(artifacts[-1]), writer(grid))
    for old in (file for ending in FORMATS for file in stage.path("").glob(f"*.{ending}")):
        if old.name not in artifacts:  # of an earlier config: it must not look like a result of this one
            old.unlink()
    stage.write_card(artifacts)
