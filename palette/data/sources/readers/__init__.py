"""Sources: each module in this folder is one, named after its file, with `-` for `_`."""

from importlib import import_module

from palette.config.choices import files
from palette.config.datasets import Fetch
from palette.data.sources.source import Source

READERS: dict[str, Source] = {
    stem.replace("_", "-"): import_module(f"{__name__}.{stem}").SOURCE for stem in files("data/sources/readers")
}
OWN = {name: source for name, source in READERS.items() if source.own}
"""Values of `fetch.source` besides the names of published datasets."""
PUBLISHED = {name: source for name, source in READERS.items() if source.published}
"""Values of `reader` of a published dataset."""
PUBLISHED_TAKES = ("path", "splits", "files")
"""Options of `fetch` that have a meaning for a published dataset."""


def misfit(fetch: Fetch) -> str:
    """Return why the options of `fetch` do not fit its source; empty if they do."""
    source, given = fetch.source, [name for name in Fetch.model_fields if name != "source" and getattr(fetch, name)]
    takes = READERS[source].takes if source in OWN else PUBLISHED_TAKES
    for option in given:
        if option not in takes:
            others = [f"`source: {name}`" for name in OWN if option in READERS[name].takes]
            others += ["published datasets"] if option in PUBLISHED_TAKES else []
            return f"`{option}` has no meaning for `source: {source}`; it goes with {' and '.join(others)}"
    for group in READERS[source].needs if source in OWN else ():
        if not any(option in given for option in group):
            return f"`source: {source}` needs {' or '.join(f'`{option}`' for option in group)}"
    if fetch.splits and len(fetch.splits) < 2:
        return "`splits` needs both `train` and `test`; without it all images are split at random"
    return ""
