"""Page next to the report that compares estimated and actual times.

It is written when a run ends, because no stage can know about its own run.
"""

from pathlib import Path

from palette.costs.truth import Truth, together, truth
from palette.planning.plan import Plan
from palette.publish.pages.templating import template
from palette.system.files import write_text
from palette.system.units import duration

NAME = "cost.html"
"""File next to the report's `index.html`, which links to it."""


def write(plan: Plan) -> Path:
    """Write the page on all finished jobs of `plan`; return its path."""
    path = plan.results / plan.report.folder / NAME
    write_text(path, render(plan.report.title, truth(plan)))
    return path


def render(title: str, found: Truth) -> str:
    """Return the page as HTML."""
    total = together(found.jobs, "all", "")
    return template("cost.html", "palette.costs").render(title=title, truth=found, total=total, duration=duration)
