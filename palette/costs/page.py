"""The page beside the report that shows estimates and truth: written when a run ends, for no stage can know of its own run."""

from pathlib import Path

from palette.costs.text import duration
from palette.costs.truth import Truth, together, truth
from palette.planning.plan import Plan
from palette.publish.pages.templating import template
from palette.system.files import write_text

NAME = "cost.html"
"""Beside the report's `index.html`, which links to it."""


def write(plan: Plan) -> Path:
    """Write the page of all jobs of `plan` that are done; return its path."""
    path = plan.results / plan.report.folder / NAME
    write_text(path, render(plan.report.title, truth(plan)))
    return path


def render(title: str, found: Truth) -> str:
    """The page as HTML."""
    total = together(found.jobs, "all", "")
    return template("cost.html", "palette.costs").render(title=title, truth=found, total=total, duration=duration)
