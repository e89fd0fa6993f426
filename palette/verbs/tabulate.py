"""A table of the config → `<table>.csv`, `.md`, `.tex`, `.html`."""

from palette.files import write_text
from palette.publish import paper, tables
from palette.publish.formats import FORMATS
from palette.spec.pages import TabulateSpec
from palette.stage import Stage


def run(stage: Stage[TabulateSpec]) -> None:
    """Write the table in every format."""
    stage.forget_cards()
    spec = stage.spec
    sheet = paper.build(spec, stage.results) if spec.table.paper else tables.build(spec, stage.results).sheet
    artifacts = {f"{spec.name}.{ending}": writer(sheet) for ending, writer in FORMATS.items()}
    for name, text in artifacts.items():
        write_text(stage.path(name), text)
    stage.write_card(list(artifacts))
