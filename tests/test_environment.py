"""The locked environment: hashes, no addresses, and the same versions in both files."""

import re
from pathlib import Path

import yaml

PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*==\S+(?: ; .*)?) \\$", re.MULTILINE)


def test_every_pin_has_a_hash_and_no_address(checkout: Path) -> None:
    for name in ("lock.txt", "bootstrap.txt"):
        text = (checkout / "envs" / name).read_text()
        assert "://" not in text
        blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
        assert len(blocks) == len(PIN.findall(text)) > 0
        assert all("--hash=sha256:" in block for block in blocks)


def test_conda_form_names_the_locked_versions(checkout: Path) -> None:
    conda = yaml.safe_load((checkout / "envs/conda.yaml").read_text())
    assert conda["dependencies"][-1]["pip"] == PIN.findall((checkout / "envs/lock.txt").read_text()), "run `make lock`"
