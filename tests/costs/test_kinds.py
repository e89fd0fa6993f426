"""Facts that every kind of stage gives to a plan."""

from palette.stages.kinds import KINDS


def test_reasons_name_fields_that_specs_have() -> None:
    unknown = {
        f"{kind}.{name}"
        for kind, spec in KINDS.items()
        for name in spec.options
        if name and name not in spec.model_fields
    }
    assert not unknown, f"`options` name {sorted(unknown)}, which no spec has"
