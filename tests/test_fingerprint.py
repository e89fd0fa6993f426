"""The fingerprint of a stage's code changes with what the code does, and with nothing else."""

import ast

import pytest

from palette import fingerprint
from palette.spec import KINDS


def digest(source: str) -> str:
    return repr(fingerprint.plain(fingerprint._strip_docstrings(ast.parse(source))))


def test_comments_docstrings_and_layout_do_not_count() -> None:
    plain = "def f(x):\n    return x + 1\n"
    dressed = '"""Module."""\n\n\ndef f(\n    x,\n):\n    """Add."""\n    # why not\n    return x + 1\n'
    assert digest(plain) == digest(dressed)


def test_attribute_docstrings_do_not_count() -> None:
    assert digest("class A:\n    x: int\n") == digest('class A:\n    """A."""\n\n    x: int\n    """An x."""\n')


def test_a_value_counts() -> None:
    assert digest("X = 1\n") != digest("X = 2\n")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_verb_and_its_own_modules(kind: str) -> None:
    assert f"palette.verbs.{kind}" in fingerprint.modules(f"palette.verbs.{kind}")


def test_modules_follow_the_imports_and_no_others() -> None:
    train, sample, score = (set(fingerprint.modules(f"palette.verbs.{kind}")) for kind in ("train", "sample", "score"))
    assert {"palette.model.unet", "palette.training.loop", "palette.data.tasks.jpeg"} <= train
    assert {"palette.model.unet", "palette.diffusion.samplers"} <= sample
    assert "palette.diffusion.samplers" not in train
    assert not any(".training" in module for module in sample | score)
    assert not any(".model" in module for module in score)
    assert not any(".scoring" in module for module in train | sample)


def test_plumbing_does_not_count() -> None:
    for kind in KINDS:
        assert not {"palette.config", "palette.plan", "palette.cli", "palette.stage"} & set(
            fingerprint.modules(f"palette.verbs.{kind}")
        )


def test_tables_and_templates_count_where_they_are_read() -> None:
    files = {file.name for file in fingerprint._data_files(fingerprint.modules("palette.verbs.tabulate"))}
    assert {"published.csv", "page.html", "gallery.css", "gallery.js"} <= files
    assert not fingerprint._data_files(fingerprint.modules("palette.verbs.train"))
