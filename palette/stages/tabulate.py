"""Make a table: CSV, Markdown, LaTeX, HTML.

Example: python -m palette tabulate -c results/tabulate/photos/spec.yaml
"""

from functools import cached_property

from palette.config.scores import Table
from palette.stages.base import Spec, Usual
from palette.stages.rows import Evaluated, Row
from palette.stages.stage import Stage
from palette.system.files import write_text

TABLE_FORMATS = ("csv", "md", "tex", "html")
"""File extensions of each table."""


class TabulateSpec(Spec):
    """Table: the scores of its rows → `<table>.csv`, `.md`, `.tex`, `.html`.

    A table of the paper that lists parameters also reads the trainings.
    """

    kind = "tabulate"
    verb = "tabulate"
    keeps_old = False
    reads = ("score", "train")
    usual = Usual(memory_gb=4, hours=1)
    options = {
        "table": "tables.{table}",
        "rows": "experiments",
        "datasets": "datasets",
    }
    table: Table
    rows: tuple[Row, ...]
    datasets: dict[str, Evaluated]
    """Datasets of the rows, by name."""

    @property
    def artifacts(self) -> tuple[str, ...]:
        return tuple(f"{self.name}.{ending}" for ending in TABLE_FORMATS)

    @cached_property
    def folder(self) -> str:
        return f"{self.kind}/{self.name}"


def run(stage: Stage[TabulateSpec]) -> None:
    """Write the table in every format."""
    from palette.publish.tables.config_table import build
    from palette.publish.tables.sheet import FORMATS

    stage.forget_cards()
    sheet = build(stage.spec, stage.results)
    for name, ending in zip(stage.spec.artifacts, TABLE_FORMATS, strict=True):
        write_text(stage.path(name), FORMATS[ending](sheet))
    stage.write_card(list(stage.spec.artifacts))
