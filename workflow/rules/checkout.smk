# The path of this checkout, whose package the jobs run.
import os
import sys
import tarfile
import tempfile
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.sourcecache import LocalGitFile, LocalSourceFile


def unpacked(source):
    """Unpack the commit from which Snakemake reads single files, by `github(...)` or `git+file:`; return its folder."""
    import git

    local = isinstance(source, LocalGitFile)
    repository = git.Repo(source.repo_path) if local else source.hosted_repo.repo
    commit = repository.commit(source.ref).hexsha
    folder = Path(".snakemake/palette").absolute() / commit
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryFile() as archive,
            tempfile.TemporaryDirectory(dir=folder.parent) as place,
        ):
            repository.archive(archive, commit)
            archive.seek(0)
            tarfile.open(fileobj=archive).extractall(f"{place}/tree", filter="data")
            os.rename(f"{place}/tree", folder)
    return folder


here = workflow.current_basedir
if isinstance(here, LocalSourceFile):
    checkout = Path(here).parents[1]
else:
    checkout = (unpacked(here) / here.path).parents[1]
if special := {"{", "}", os.pathsep} & {*str(checkout)}:
    raise WorkflowError(
        f"{checkout}: move the checkout to a path without {' '.join(sorted(special))}, which Snakemake or the shell would interpret."
    )
sys.path.insert(0, str(checkout))
