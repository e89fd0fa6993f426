"""A table of the config → `<table>.csv`, `.md`, `.tex`, `.html`."""

from palette.publish.tables import config_table, paper_table
from palette.publish.tables.formats import FORMATS
from palette.stages.stage import Stage
from palette.stages.tabulate import TabulateSpec
from palette.system.files import write_text


def run(stage: Stage[TabulateSpec]) -> None:
    """Write the table in every format."""
    stage.forget_cards()
    spec = stage.spec
    sheet = (
        paper_table.build(spec, stage.results) if spec.table.paper else config_table.build(spec, stage.results).sheet
    )
    artifacts = {f"{spec.name}.{ending}": writer(sheet) for ending, writer in FORMATS.items()}
    for name, text in artifacts.items():
        write_text(stage.path(name), text)
    stage.write_card(list(artifacts))
