"""A table as printed, and its output as CSV, Markdown, LaTeX and HTML."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import isinf
from typing import Any

import pandas as pd

from palette.publish.pages.templating import template
from palette.publish.tables.scores import each

MISSING, INFINITE = "—", "∞"
ARROWS = {"lower": "↓", "higher": "↑", "reference": ""}
FIELDS = [
    *[
        "table",
        "dataset",
        "task",
        "condition",
        "model",
        "sampler",
        "nfe",
        "steps",
        "seeds",
        "images",
        "score",
        "better",
    ],
    *["value", "low", "high", "deviation", "small", "published", "published_table", "published_certainty"],
    *["published_model", "published_dataset", "quoted", "difference", "relative_difference", "status", "scores"],
]
"""Columns of the CSV."""
LATEX = {
    **{"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"},
    **{"↓": r"$\downarrow$", "↑": r"$\uparrow$", "∞": r"$\infty$", "—": "---", "−": "$-$", "±": r"$\pm$"},
    **{"×": r"$\times$", "√": r"$\surd$", "²": r"$^2$", "†": r"$^\dagger$", "°": r"$^\circ$"},
    **{"…": r"\ldots{}", "’": "'"},
}
CELL = {"text": "", "mark": "", "detail": "", "bold": False, "missing": False, "experiment": ""}
"""An empty cell."""
CELLS = ["section", "title", "line", "kind", "heads", "group", "heading", "from_paper", *CELL, "rows"]


@dataclass(frozen=True)
class Sheet:
    """A complete table."""

    name: str
    title: str
    heads: tuple[str, ...]
    """Headings of the first columns, which identify a line."""
    records: pd.DataFrame
    """The tidy table: one row per number, with the columns FIELDS."""
    cells: pd.DataFrame
    """One row per printed cell, in order.

    section, title: number and title (which may be empty) of the lines that belong together.
    line, kind, heads: number, kind and first cells of the line. quoted: another method, from the paper. paper: the
    authors' own. ours, difference: below it. trained, baseline: lines of other tables.
    group, heading, from_paper: of the column; neighbors in the same group share its name above them.
    text, mark, detail: the number, its footnote mark, and its interval, deviation or share, printed smaller.
    bold, missing: whether it is the best, and whether the text is the reason why there is no number.
    experiment: whose images are behind the number; empty if none. rows: the line's experiments, if any.
    """
    notes: tuple[str, ...]

    @cached_property
    def headings(self) -> Any:
        """Group, heading and origin of each column, as a frame."""
        return self.cells.loc[self.cells.line == self.cells.line.iloc[0], ["group", "heading", "from_paper"]]

    @property
    def groups(self) -> dict[str, int]:
        """Names of the groups with their numbers of columns; empty if no column is in a group."""
        counts = Counter(self.headings.group)
        return {} if list(counts) == [""] else counts

    @property
    def width(self) -> int:
        return len(self.heads) + len(self.headings)

    @cached_property
    def sections(self) -> list[tuple[str, list[pd.DataFrame]]]:
        """Title of each section with the cells of each of its lines."""
        return [
            (str(title), [line for _, line in section.groupby("line", sort=False)])
            for (_, title), section in self.cells.groupby(["section", "title"], sort=False)
        ]


def printed(score: Any) -> dict[str, Any]:
    """Format a score as (part of) a cell; a missing one is a dash."""
    if pd.isna(score.value):
        return {"text": MISSING, "missing": True}
    mark = "†" if score.small is True else ""
    if isinf(score.value):
        return {"text": INFINITE, "mark": mark}
    detail = "" if pd.isna(score.low) else f"[{score.low:.{score.digits}f}, {score.high:.{score.digits}f}]"
    if pd.notna(score.deviation):
        detail = f"± {score.deviation:.{score.digits}f}"
    return {"text": f"{score.value:.{score.digits}f}", "mark": mark, "detail": detail}


def with_cells(records: pd.DataFrame, cell: Callable[[Any], dict[str, Any]]) -> pd.DataFrame:
    """Add to each record the cell that it is printed as."""
    cells = pd.DataFrame([CELL | cell(record) for record in each(records)], index=records.index)
    return records.drop(columns="experiment").join(cells)


def to_csv(sheet: Sheet) -> str:
    """Format as tidy CSV: one row per number, full precision, empty where there is no value, `inf` for infinity."""
    records = sheet.records.reindex(columns=FIELDS)
    flags = {name: records[name].map({True: "true", False: "false"}) for name in ("small", "quoted")}
    return str(records.assign(**flags).to_csv(index=False, lineterminator="\n"))


def to_markdown(sheet: Sheet) -> str:
    """Format as a pipe table with one heading line per section, and the notes below."""
    several = len(sheet.groups) > 1
    labels = [f"{h.group} {h.heading}".strip() if several else h.heading for h in each(sheet.headings)]
    rows = [[*sheet.heads, *labels], ["---", *["---:"] * (sheet.width - 1)]]
    for title, lines in sheet.sections:
        if title:
            rows.append([f"**{_escape_markdown(title)}**", *[""] * (sheet.width - 1)])
        rows += [[*map(_escape_markdown, line.heads.iloc[0]), *map(_markdown, each(line))] for line in lines]
    table = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([f"### {sheet.title}", "", *table, "", *(f"{note}  " for note in sheet.notes)]).rstrip() + "\n"


def _escape_markdown(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def _markdown(cell: Any) -> str:
    text = f"*{cell.text}*" if cell.missing and cell.text.isascii() and cell.text else cell.text
    value = f"**{cell.text}**" if cell.bold else text
    return f"{value}{cell.mark} {cell.detail}".rstrip()


def to_latex(sheet: Sheet) -> str:
    """Format as a booktabs table; needs `\\usepackage{booktabs}`. Rules and titles stand before a line's first cell."""
    rows, rule = [], ""
    for title, lines in sheet.sections:
        if title:
            rule += rf"\multicolumn{{{sheet.width}}}{{l}}{{\emph{{{escape(title)}}}}} \\" + "\n"
        for line in lines:
            first, *others = map(escape, line.heads.iloc[0])
            rows.append([rule + first, *others, *map(_latex, each(line))])
            rule = ""
        rule = "\\midrule\n"
    columns, rules, start = [*map(escape, (*sheet.heads, *sheet.headings.heading))], [], len(sheet.heads) + 1
    for count in sheet.groups.values():
        rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    if rules:
        groups = [*map(" ".__mul__, range(len(sheet.heads))), *map(escape, sheet.headings.group)]
        columns[0] = f"{' '.join(rules)}\n{columns[0]}"
        frame = pd.DataFrame(rows, columns=pd.MultiIndex.from_arrays([groups, columns]))
    else:
        frame = pd.DataFrame(rows, columns=columns)
    text = frame.style.hide(axis="index").to_latex(
        hrules=True,
        caption=escape(sheet.title),
        label=f"tab:{sheet.name}",
        position_float="centering",
        column_format="l" + "r" * (sheet.width - 1),
        multicol_align="c",
    )
    notes = " ".join(map(escape, sheet.notes))
    return text.replace("\\end{table}", f"\\par\\smallskip\\footnotesize {notes}\n\\end{{table}}")


def escape(text: str) -> str:
    """Escape text for LaTeX."""
    return "".join(LATEX.get(character, character) for character in text)


def _latex(cell: Any) -> str:
    if cell.missing:
        return rf"{{\scriptsize {escape(cell.text)}}}" if cell.text else ""
    value = rf"\textbf{{{escape(cell.text)}}}" if cell.bold else escape(cell.text)
    detail = rf" {{\scriptsize {escape(cell.detail)}}}" if cell.detail else ""
    return value + escape(cell.mark) + detail


def to_html(sheet: Sheet) -> str:
    """Format as a self-contained page without network or scripts, for print, phones, light and dark themes."""
    return template("table.html").render(sheet=sheet, linked=False)


FORMATS: dict[str, Callable[[Sheet], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex, "html": to_html}
"""File extension → writer."""
