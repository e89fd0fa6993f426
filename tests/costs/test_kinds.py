"""Costs of every kind of stage: a failure lists the rows that a new kind needs."""

from collections.abc import Mapping
from typing import Any

import pytest

from palette.costs.work import HANDLING
from palette.stages.kinds import KINDS

ROWS: dict[str, tuple[Mapping[str, Any], str]] = {
    "HANDLING of palette/costs/work.py": (
        HANDLING,
        "what its jobs take beside networks, as `benchmarks.handling` measures",
    ),
}
"""Table → its rows, and what such a row tells."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_stage_has_its_rows(kind: str) -> None:
    missing = [f"{place}: {tells}" for place, (rows, tells) in ROWS.items() if kind not in rows]
    assert not missing, f"the stage {kind!r} of palette/stages needs a row in\n  " + "\n  ".join(missing)


@pytest.mark.parametrize("place", ROWS)
def test_no_row_is_of_a_removed_stage(place: str) -> None:
    gone = ROWS[place][0].keys() - KINDS.keys()
    assert not gone, f"{place} has rows of {sorted(gone)}, which are no kinds of palette/stages"


def test_reasons_name_fields_that_specs_have() -> None:
    unknown = {
        f"{kind}.{name}"
        for kind, spec in KINDS.items()
        for name in spec.options
        if name and name not in spec.model_fields
    }
    assert not unknown, f"`options` name {sorted(unknown)}, which no spec has"
