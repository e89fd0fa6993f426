"""Which change reruns what: on the real DAG, by the real command."""

import fcntl
import os
import shutil
from pathlib import Path

from tests.workflow.project import Project

ALL_AFTER_SAMPLING = {"score", "smoke", "report"}


def test_nothing_changed_nothing_runs(project: Project) -> None:
    assert not project.stale()
    assert "Nothing to be done" in project.snakemake().stderr


def test_sampler_steps_rerun_sampling_and_what_follows(project: Project) -> None:
    project.change(lambda c: c["samplers"]["dpm4"].update(steps=5))
    assert project.stale() == {"sample": 2, "features": 2, "score": 1, "smoke": 1, "report": 1}


def test_deleted_stores_are_made_again_for_a_new_sampler_and_rerun_no_finished_job(project: Project) -> None:
    for store in project.results.glob("prepare/*/*.zip"):
        store.unlink()
    project.change(lambda c: c["samplers"]["dpm4"].update(steps=5))
    assert project.stale() == {"prepare": 1, "sample": 2, "features": 2, "score": 1, "smoke": 1, "report": 1}


def test_table_option_reruns_tabulate_and_report_only(project: Project) -> None:
    project.change(lambda c: c["tables"]["smoke"].update(title="Another"))
    assert project.stale() == {"smoke": 1, "report": 1}


def test_learning_rate_reruns_that_model_alone(project: Project) -> None:
    project.change(lambda c: c["models"]["regression"]["train"].update(learning_rate=2e-3))
    assert project.stale() == {"train": 1, "sample": 2, "features": 2, "score": 1, "smoke": 1, "report": 1}
    assert project.stale_trainings() == {"photos-colorization-regression-s0"}


def test_a_table_asks_for_its_own_rows_alone(project: Project) -> None:
    def tables(config: dict) -> None:  # type: ignore[type-arg]
        config["tables"] = {
            "regression": {"experiments": ["*-regression-*"]},
            "table_4": {"paper": 4, "experiments": []},
        }
        config["models"]["palette"]["train"].update(learning_rate=2e-3)

    project.change(tables)
    assert project.stale("regression") == {"regression": 1}
    assert project.stale("table_4") == {"table_4": 1}
    assert project.stale("tables") == {"regression": 1, "table_4": 1}
    assert project.stale() == {
        "train": 1,
        "sample": 2,
        "features": 2,
        "score": 1,
        "regression": 1,
        "table_4": 1,
        "report": 1,
    }
    project.snakemake("tables")
    assert {file.suffix for file in (project.results / "tabulate/table_4").glob("table_4.*")} == {
        *(".csv", ".md", ".tex", ".html"),
    }
    assert project.stale("table_4") == {}


def test_new_experiment_adds_its_own_jobs(project: Project) -> None:
    project.change(lambda c: c["experiments"].append({"dataset": "photos", "task": "inpainting", "model": "input"}))
    assert project.stale() == {"sample": 2, "features": 2, "score": 1, "smoke": 1, "report": 1}


def test_comment_and_docstring_in_the_engine_rerun_nothing(project: Project) -> None:
    for module in ("diffusion/samplers.py", "model/unet.py", "data/store/store.py", "training/loop.py"):
        file = project.folder / "palette" / module
        text = file.read_text()
        assert text.startswith('"""')
        file.write_text(text.replace('"""', '"""Words. ', 1) + "\n# A remark.\n")
    assert not project.stale()


def test_line_of_scoring_code_reruns_scores_and_what_follows(project: Project) -> None:
    with (project.folder / "palette/scoring/statistics.py").open("a") as file:
        file.write("\nANOTHER = 1\n")
    assert set(project.stale()) == ALL_AFTER_SAMPLING | {"statistics"}


def test_line_of_sampler_code_leaves_training_alone(project: Project) -> None:
    with (project.folder / "palette/diffusion/samplers.py").open("a") as file:
        file.write("\nANOTHER = 1\n")
    assert set(project.stale()) == ALL_AFTER_SAMPLING | {"sample", "features"}


def test_two_swapped_values_are_detected(project: Project) -> None:
    def swap(config: dict) -> None:  # type: ignore[type-arg]
        train = config["models"]["regression"]["train"]
        train["steps"], train["batch_size"] = train["batch_size"], train["steps"]

    project.change(swap)
    assert project.stale()["train"] == 1


def test_copied_results_without_records_detect_a_changed_learning_rate(project: Project, tmp_path: Path) -> None:
    fresh = Project.create(tmp_path / "fresh", project.config)
    shutil.copytree(project.results, fresh.results, copy_function=shutil.copy)  # new times, no .snakemake
    assert not fresh.stale()
    fresh.change(lambda c: c["models"]["regression"]["train"].update(learning_rate=2e-3))
    assert fresh.stale_trainings() == {"photos-colorization-regression-s0"}


def test_touch_and_fresh_checkout_rerun_nothing(project: Project) -> None:
    for number, file in enumerate(sorted(project.folder.rglob("*"))):
        if file.is_file():
            os.utime(file, (2e9 - number, 2e9 - number))  # a checkout gives times in any order
    assert not project.stale()


def test_changing_back_reruns_tabulate_and_report_only(project: Project) -> None:
    original = project.config
    project.change(lambda c: c["tables"]["smoke"].update(title="Another"))
    project.snakemake()
    project.write(original)
    assert project.stale() == {"smoke": 1, "report": 1}


def test_more_steps_continue_the_training(project: Project) -> None:
    project.change(lambda c: c["models"]["regression"]["train"].update(steps=12))
    assert project.stale()["train"] == 1
    project.snakemake("--until", "train")
    logs = [file.read_text() for file in (project.results / "logs/train").glob("*regression*")]
    assert any("going on from step 8" in text for text in logs), logs


def test_threads_and_gpus_change_no_result(project: Project) -> None:
    project.change(lambda c: c["models"]["palette"]["train"].update(threads=2, gpus=0))
    assert not project.stale()


def test_a_second_run_in_the_same_folder_is_refused(project: Project) -> None:
    project.change(lambda c: c["tables"]["smoke"].update(title="Another"))
    with (project.results / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert project.stale() == {"smoke": 1, "report": 1}  # a dry run needs no lock
        refused = project.snakemake(check=False)
    assert refused.returncode != 0
    assert "another snakemake is running" in refused.stderr
    assert "Traceback" not in refused.stderr
