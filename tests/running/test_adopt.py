"""`palette adopt`: what differs by code alone is kept for the plan; a change of options or data never is."""

import fcntl
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from palette.cli import main
from palette.commands.adopt import shown
from palette.config import Config
from palette.config.datasets import Prepare
from palette.costs import text
from palette.costs.losses import losses
from palette.planning.plan import Plan
from palette.planning.remaining import Made, remaining
from palette.running.adopt import Adoption, find, take_over
from palette.running.cleanup import delete
from palette.running.cleanup import find as superfluous
from palette.running.start import plan_of
from palette.stages import fingerprint
from palette.stages.fingerprint import record_code
from palette.stages.prepare import PrepareSpec
from palette.stages.stage import Stage
from palette.stages.train import TrainSpec
from tests.costs.conftest import RAW
from tests.tiny import train_spec

LOOP, STORE = "palette.training.loop", "palette.data.store.store"
Edit = Callable[[str], None]
BY_PARENTS = "    code of its parents"


@pytest.fixture(autouse=True)
def no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palette.stages.stage.commit", lambda: None)


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Edit]:
    """A function that changes a module, as far as fingerprints to come can see."""
    edits = Counter[str]()
    parse = fingerprint._parse

    def parsed(module: str) -> tuple[str, tuple[str, ...]]:
        digest, imported = parse(module)
        return (f"{edits[module]:010}{digest}" if edits[module] else digest), imported

    def forget() -> None:
        fingerprint.digests.cache_clear()
        fingerprint.fingerprint.cache_clear()

    def edited(module: str) -> None:
        edits[module] += 1
        forget()

    monkeypatch.setattr(fingerprint, "_parse", parsed)
    yield edited
    forget()


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Plan]:
    def made(**changes: Any) -> Plan:
        return Plan(Config.model_validate({**RAW, "results": tmp_path / "results", **changes}))

    return made


Make = Callable[..., Plan]


def run(plan: Plan, *kinds: str, content: str = "") -> None:
    """Let every stage look made, or those of some kinds, with real cards; its training states too."""
    for spec in plan.stages.values():
        if kinds and spec.kind not in kinds:
            continue
        record_code(plan.results, spec.kind)
        spec.write(plan.results)
        for shard in spec.jobs:
            *files, card = (Path(file).relative_to(spec.folder) for file in spec.written(shard))
            for file in files:
                (plan.results / spec.folder / file).parent.mkdir(parents=True, exist_ok=True)
                (plan.results / spec.folder / file).write_text(json.dumps(content or f"{spec.name} {file}"))
            Stage(spec, plan.results).write_card([*map(str, files)], name=str(card))
        if isinstance(spec, TrainSpec):
            save_state(plan, spec, 500, spec.steps)


def save_state(plan: Plan, spec: TrainSpec, *steps: int) -> Path:
    state = plan.results / "state" / spec.state_key
    (state / "previews").mkdir(parents=True, exist_ok=True)
    for name in ("log.jsonl", "lock", "heartbeat.json", "previews/step-00000500.png"):
        (state / name).write_text(f"{name} of {spec.engine}")
    for step in steps:
        (state / f"step-{step:08}.pt").write_text(f"step {step} of {spec.engine}")
    return state


def trainings(plan: Plan) -> list[TrainSpec]:
    return [spec for spec in plan.of_kind("train") if isinstance(spec, TrainSpec)]


def unfinished(plan: Plan, spec: TrainSpec, step: int) -> None:
    """Let a training look half-finished, at `step`."""
    for file in plan.outputs(spec.folder):
        (plan.results / file).unlink()
    for file in (plan.results / "state" / spec.state_key).glob("step-*.pt"):
        file.unlink()
    save_state(plan, spec, step)


def stale(plan: Plan) -> set[str]:
    return {folder.partition("/")[0] for folder in remaining(plan, Made(plan.results))}


def kinds(adoptions: list[Adoption]) -> set[str]:
    return {"state" if adoption.steps else adoption.spec.kind for adoption in adoptions}


def with_train(**options: object) -> dict[str, object]:
    return {"palette": {**RAW["models"]["palette"], "train": {**RAW["models"]["palette"]["train"], **options}}}


def contents(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): f.read_text() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_what_differs_by_code_alone_is_shown_with_its_files(make: Make, edit: Edit) -> None:
    run(make())
    assert find(make()) == []
    assert shown([], "").startswith("Nothing to adopt")
    edit(LOOP)
    plan = make()
    adoptions = find(plan)
    # The originals and their statistics depend on no training.
    assert {f"{a.spec.kind} {a.spec.name}" for a in adoptions if not a.steps} == {
        *(f"train photos-{task}-palette-s0" for task in ("jpeg", "inpainting")),
        *(f"{kind} photos-{task}-palette-dpm-s0" for kind in ("sample", "score") for task in ("jpeg", "hole")),
        *(f"features photos-{task}-palette-dpm-s0-photos" for task in ("jpeg", "hole")),
    }
    lines = shown(adoptions, "--yes adopts them").splitlines()
    assert lines[0] == "train photos-jpeg-palette-s0"
    assert "train photos-jpeg-palette-s0, state at step 1,000 of 1,000" in lines
    assert lines.count("    palette/training/loop.py changed") == 1
    assert lines.count(BY_PARENTS) == 3
    assert lines[-1] == "Stages: 8. Training states: 2. They differ from the plan by code alone: --yes adopts them."
    assert stale(plan) == {"train", "sample", "features", "score", "tabulate", "report"}  # nothing was taken


def test_adopted_results_leave_only_tables_and_report_to_run(make: Make, edit: Edit) -> None:
    old = make()
    run(old)
    before = contents(old.results)
    edit(STORE)
    plan = make()
    assert stale(plan) >= {"prepare", "train", "sample", "features", "statistics", "score"}
    take_over(plan, find(plan))
    assert stale(make()) == {"tabulate", "report"}
    assert find(make()) == []
    assert contents(plan.results).items() >= before.items()  # the earlier code finds its results too
    new, earlier = trainings(plan)[0], trainings(old)[0]
    assert new.hash != earlier.hash
    first, second = (plan.results / spec.folder / "model.safetensors" for spec in (new, earlier))
    assert first.samefile(second)
    card = json.loads((plan.results / new.card).read_text())
    assert card["spec"] == new.hash
    assert card["engine"] == earlier.engine
    assert card["parents"]["prepare"]["folder"] == new.parents["prepare"]
    assert card["adopted"][0].startswith(f"made by code {earlier.engine}, adopted for {new.engine} on 20")
    for heap in superfluous([plan]):  # `palette gc` takes the old names, and not the files
        delete(heap)
    assert stale(make()) == {"tabulate", "report"}
    assert first.read_text() == before[f"{earlier.folder}/model.safetensors"]


@pytest.mark.parametrize(
    ("changes", "offered"),
    [
        ({"models": with_train(learning_rate=1e-3)}, {"prepare", "features", "statistics", "extractor"}),
        ({"samplers": {"dpm": {"steps": 5}}}, {"prepare", "train", "state", "features", "statistics", "extractor"}),
        ({"datasets": {"photos": {"prepare": {**RAW["datasets"]["photos"]["prepare"], "seed": 1}}}}, set()),
        (
            {"score": {"shard_size": 8, "is_splits": 3}},
            {"prepare", "train", "state", "sample", "features", "statistics", "extractor"},
        ),
    ],
    ids=["train", "sampler", "prepare", "score"],
)
def test_a_changed_option_is_never_adopted_nor_what_follows(
    make: Make, edit: Edit, changes: dict[str, Any], offered: set[str]
) -> None:
    run(make())
    edit(STORE)
    found = find(make(**changes))
    assert kinds(found) - {"mask", "fetch"} == offered
    if "features" in offered and "train" not in offered:  # those of the originals alone
        assert all("originals" in adoption.spec.name for adoption in found if adoption.spec.kind == "features")


def test_other_data_is_never_adopted(make: Make, edit: Edit) -> None:
    run(make())
    plan = Plan(make().config, listings={"photos": "0123456789"})
    edit(STORE)
    assert kinds(find(make())) > {"prepare", "train", "state"}
    assert kinds(find(Plan(plan.config, listings={"photos": "0123456789"}))) <= {"mask"}


@pytest.mark.parametrize(("content", "offered"), [("", {"train", "state"}), ("other bytes", set())])
def test_parents_that_the_new_code_has_made_must_have_the_same_bytes(
    make: Make, edit: Edit, content: str, offered: set[str]
) -> None:
    run(make())
    edit(STORE)
    plan = make()
    run(plan, "fetch", "prepare", content=content)
    assert kinds(find(plan)) & {"train", "state"} == offered


def test_deleted_stores_are_not_needed(make: Make, edit: Edit) -> None:
    run(make())
    edit(STORE)
    plan = make()
    for store in plan.results.glob("prepare/*/*.zip"):
        store.unlink()
    take_over(plan, find(plan))
    assert stale(plan) == {"prepare", "tabulate", "report"}  # the report waits for all files of a dataset


def test_shards_that_are_done_are_kept(make: Make, edit: Edit) -> None:
    old = make()
    run(old)
    spec = old.of_kind("sample")[0]
    for file in spec.written("001"):
        (old.results / file).unlink()
    edit(LOOP)
    plan = make()
    found = {adoption.title for adoption in find(plan)}
    assert f"sample {spec.name}, 2 of 3 shards" in found
    take_over(plan, find(plan))
    sample = next(s for s in plan.of_kind("sample") if s.name == spec.name)
    assert [job.shard for job in remaining(plan, Made(plan.results))[sample.folder]] == ["001"]


def test_a_half_finished_training_is_adopted(make: Make, edit: Edit) -> None:
    old = make()
    run(old)
    one = trainings(old)[0]
    unfinished(old, one, 400)
    edit(LOOP)
    plan = make()
    new = trainings(plan)[0]
    told = "\n".join(text.lost(losses(plan, remaining(plan, Made(plan.results)), "h100")))
    assert f"{new.name}: 400 of 1,000 steps, about " in told
    assert "GPU-hours (engine: palette/training/loop.py changed)" in told
    assert "`python -m palette adopt -c CONFIG`" in told
    save_state(plan, new, 100)  # begun anew, and stopped
    adoptions = find(plan)
    assert f"train {new.name}, state at step 400 of 1,000" in {adoption.title for adoption in adoptions}
    assert new.folder not in {adoption.spec.folder for adoption in adoptions if not adoption.steps}
    take_over(plan, adoptions)
    state, earlier = (plan.results / "state" / spec.state_key for spec in (new, one))
    assert (state / "step-00000400.pt").samefile(earlier / "step-00000400.pt")
    assert (state / "log.jsonl").read_text() == f"log.jsonl of {one.engine}"
    assert (state / "lock").read_text() == f"lock of {new.engine}"
    (sentence,) = json.loads((state / "adopted.json").read_text())
    assert sentence.startswith(f"made by code {one.engine} up to step 400, adopted for {new.engine} on 20")
    assert new.state_key not in {getattr(adoption.spec, "state_key", "") for adoption in find(plan)}
    assert losses(plan, remaining(plan, Made(plan.results)), "h100") == []


def test_the_state_of_a_training_with_another_number_of_steps_is_adopted(make: Make, edit: Edit) -> None:
    run(make())
    edit(LOOP)
    assert kinds(find(make(models=with_train(steps=2000)))) == {"state"}


def test_a_state_that_is_farther_or_in_use_stays(make: Make, edit: Edit) -> None:
    old = make()
    run(old)
    edit(LOOP)
    plan = make()
    first, second = trainings(plan)
    save_state(plan, first, 1000)
    lock = plan.results / "state" / next(s for s in trainings(old) if s.name == second.name).state_key / "lock"
    with lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "state" not in kinds(find(plan))
    assert [adoption.spec.name for adoption in find(plan) if adoption.steps] == [second.name]


class KilledError(Exception):
    """Stands for `kill -9`: nothing more happens."""


def test_killed_between_any_two_files_the_next_adoption_goes_on(
    make: Make, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = RAW["experiments"][0]
    small: dict[str, Any] = {"experiments": [{**row, "task": "jpeg"}], "sample": {"shard_size": 16}}
    old = make(**small)
    run(old)
    before = contents(old.results)
    edit(STORE)
    plan = make(**small)
    whole = {adoption.spec.folder for adoption in find(plan)}
    left, replace, link = 0, Path.replace, Path.hardlink_to

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError
            return step(*arguments)

        return called

    monkeypatch.setattr(Path, "replace", counted(replace))
    monkeypatch.setattr(Path, "hardlink_to", counted(link))
    survived = 0
    for allowed in range(1000):
        left = allowed
        try:
            take_over(plan, find(plan))
            break
        except KilledError:
            survived += 1
        left = 10**6
        assert contents(plan.results).items() >= before.items()
        assert {adoption.spec.folder for adoption in find(plan)} <= whole
        if allowed % 7 == 0:  # completed from here; then killed one step later, from the start
            take_over(plan, find(plan))
            assert stale(plan) == {"tabulate", "report"}
        for folder in {*plan.stages} - {*old.stages}:
            shutil.rmtree(plan.results / folder, ignore_errors=True)
        for spec in trainings(plan):
            shutil.rmtree(plan.results / "state" / spec.state_key, ignore_errors=True)
    assert survived > 40
    assert stale(plan) == {"tabulate", "report"}


def test_adopted_twice_both_sentences_stay(make: Make, edit: Edit) -> None:
    engines = []
    run(make())
    for _ in range(2):
        engines.append(trainings(make())[0].engine)
        edit(LOOP)
        plan = make()
        take_over(plan, find(plan))
    spec = trainings(plan)[0]
    card = json.loads((plan.results / spec.card).read_text())
    made_by, last = engines[0], spec.engine
    assert [s.partition(" on ")[0] for s in card["adopted"]] == [
        f"made by code {made_by}, adopted for {engines[1]}",
        f"made by code {made_by}, adopted for {last}",
    ]
    history = json.loads((plan.results / "state" / spec.state_key / "adopted.json").read_text())
    assert [s.partition(" on ")[0] for s in history] == [
        f"made by code {made_by} up to step 1,000, adopted for {engines[1]}",
        f"made by code {engines[1]} up to step 1,000, adopted for {last}",
    ]
    score = json.loads((plan.results / plan.of_kind("score")[0].card).read_text())
    assert all("adopted with its parents on 20" in sentence for sentence in score["adopted"])


def test_without_hard_links_files_are_copied(make: Make, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    run(make())
    edit(LOOP)
    plan = make()

    def refused(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    take_over(plan, find(plan))
    assert stale(plan) == {"tabulate", "report"}
    assert not list(plan.results.rglob("*.tmp"))


def test_what_is_damaged_edited_or_points_elsewhere_is_not_taken(make: Make, edit: Edit) -> None:
    old = make()
    run(old)
    first, second = trainings(old)
    spec_file, card_file = old.results / first.folder / "spec.yaml", old.results / second.card
    spec_file.write_text(spec_file.read_text().replace("batch_size: 16", "batch_size: 17"))
    card = json.loads(card_file.read_text())
    card["artifacts"]["../../../outside"] = {"sha256": "0", "bytes": 1}
    (old.results.parent / "outside").write_text("elsewhere")
    card_file.write_text(json.dumps(card))
    score = old.of_kind("score")[0]
    (old.results / score.card).write_text("{")
    edit(LOOP)
    plan = make()
    adoptions = find(plan)
    assert {a.spec.name for a in adoptions if a.spec.kind == "train"} == {second.name}
    assert score.name not in {a.spec.name for a in adoptions if a.spec.kind == "score"}
    take_over(plan, adoptions)
    assert not (plan.results / "outside").exists()


def test_options_that_only_one_version_knows() -> None:
    spec = train_spec()
    facts = {"kind": "train", "hash": "0123456789", **spec.model_dump(mode="json")}
    assert spec.with_options_of({**facts, "name": "other", "engine": "x", "runtime": {"gone": 1}}) is not None
    older = {name: value for name, value in facts.items() if name != "sources"}
    assert spec.with_options_of(older) is not None  # it has a default
    assert train_spec(sources={"prepare": 0.5}).with_options_of(older) is None
    assert spec.with_options_of({**facts, "gone": 1}) is None
    assert spec.with_options_of({**facts, "steps": 13}) is None
    prepare = PrepareSpec(name="photos", prepare=Prepare(crop="center"))
    renamed = prepare.model_dump(mode="json")
    renamed["prepare"]["crop"] = "centre"
    assert prepare.with_options_of({"kind": "prepare", **renamed}) is not None
    assert spec.with_options_of({**facts, "steps": 13}, ignored=("steps",)) is not None


def test_command_shows_and_adopts(
    tmp_path: Path, make: Make, edit: Edit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({**RAW, "results": str(tmp_path / "results")}))
    assert main(["adopt", "-c", str(config), "--yes"]) == 0
    assert "Nothing to adopt" in capsys.readouterr().out
    run(plan_of([config]))
    edit(LOOP)
    assert main(["adopt", "-c", str(config)]) == 0
    assert "Stages: 8. Training states: 2. They differ from the plan by code alone: --yes" in capsys.readouterr().out
    with (tmp_path / "results/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["adopt", "-c", str(config), "--yes"]) == 2
    assert "a snakemake is running in this folder" in capsys.readouterr().err
    assert main(["adopt", "-c", str(config), "--yes"]) == 0
    assert "by code alone: adopted." in capsys.readouterr().out
    assert main(["adopt", "-c", str(config)]) == 0
    assert "Nothing to adopt" in capsys.readouterr().out
