"""Every kind of stage is found by its file, and its files, help and options agree."""

from palette.stages.kinds import KINDS
from palette.stages.listing import listed, verbs


def test_what_the_files_say_is_what_the_classes_say() -> None:
    """Help and order are read from the files, without importing them."""
    for kind, facts in listed().items():
        spec = KINDS[kind]
        assert (spec.kind, spec.verb, spec.reads) == (kind, facts.verb, facts.reads)
        assert hasattr(spec, "shard_files") == facts.scattered
    assert verbs().keys() == {spec.verb for spec in KINDS.values()}
    assert all(verb.help for verb in verbs().values())


def test_a_kind_comes_after_those_that_it_reads() -> None:
    kinds = list(KINDS)
    assert all(kinds.index(parent) < kinds.index(kind) for kind in kinds for parent in KINDS[kind].reads)


def test_reasons_name_fields_that_specs_have() -> None:
    unknown = {
        f"{kind}.{name}"
        for kind, spec in KINDS.items()
        for name in spec.options
        if name and name not in spec.model_fields
    }
    assert not unknown, f"`options` name {sorted(unknown)}, which no spec has"
