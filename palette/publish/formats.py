"""A grid as CSV, Markdown and LaTeX. FORMATS: file ending → writer, each with the signature (grid) → text."""

import csv
import io
from collections.abc import Callable

from palette.publish.tables import Column, Entry, Grid, GridLine

HEAD = ("model", "NFE", "seeds")
FIELDS = (
    *("table", "dataset", "task", "condition", "model", "sampler", "nfe", "seeds", "images", "score", "better"),
    *("value", "low", "high", "deviation", "small", "published", "published_table", "published_certainty", "scores"),
)
LATEX = {
    **{"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"},
    **{
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "∞": r"$\infty$",
        "—": "---",
        "±": r"$\pm$",
        "×": r"$\times$",
        "√": r"$\surd$",
    },
    **{"²": r"$^2$", "†": r"$^\dagger$", "…": r"\ldots{}", "’": "'"},
}


def to_csv(grid: Grid) -> str:
    """Tidy: one row per line and score, full precision, empty where there is nothing; `inf` where infinite."""
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n", restval="")
    writer.writeheader()
    for block, lines in grid.blocks:
        for line in lines:
            head = {"table": grid.name, "dataset": block.dataset, "task": block.task, "condition": block.condition}
            writer.writerows(head | _record(line, column) for column in grid.columns if not column.published)
    return file.getvalue()


def _record(line: GridLine, column: Column) -> dict[str, object]:
    row, cell, number = line.line.row, line.line.cells.get(column.key), line.numbers.get(column.metric)
    record: dict[str, object] = {"model": row.model, "sampler": row.sampler, "nfe": row.evaluations}
    record |= {"seeds": " ".join(str(r.seed) for r in line.line.rows), "images": line.line.images}
    record |= {"score": column.key, "better": column.better, "scores": " ".join(r.score for r in line.line.rows)}
    if cell is not None:
        record |= {"value": "inf" if cell.value is None else cell.value, "low": cell.low, "high": cell.high}
        record |= {"deviation": cell.deviation, "small": str(cell.small).lower()}
    if number is not None:
        record |= {"published": number.value, "published_table": number.table, "published_certainty": number.certainty}
    return record


def to_markdown(grid: Grid) -> str:
    """A pipe table with one heading line per block, and the notes below."""
    head = [*HEAD, *grid.headings]
    lines = [f"### {grid.title}", "", _piped(head), _piped(["---", *["---:"] * (len(head) - 1)])]
    for block, grid_lines in grid.blocks:
        lines.append(_piped([f"**{_escape_markdown(f'{block.title} ({block.dataset})')}**", *[""] * (len(head) - 1)]))
        for line in grid_lines:
            cells = [_escape_markdown(line.label), line.evaluations, line.seeds]
            lines.append(_piped([*cells, *(_markdown(entry) for entry in line.entries)]))
    return "\n".join([*lines, "", *(f"{note}  " for note in grid.notes)]).rstrip() + "\n"


def _piped(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape_markdown(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def _markdown(entry: Entry) -> str:
    value = f"**{entry.text}**" if entry.bold else entry.text
    return f"{value}{entry.mark} {entry.detail}".rstrip()


def to_latex(grid: Grid) -> str:
    """A booktabs table; needs `\\usepackage{booktabs}`."""
    width = len(HEAD) + len(grid.columns)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape(grid.title)}}}", rf"\label{{tab:{grid.name}}}"]
    lines += [
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        _row([escape(h) for h in (*HEAD, *grid.headings)]),
    ]
    for block, grid_lines in grid.blocks:
        lines += [
            r"\midrule",
            rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape(f'{block.title} ({block.dataset})')}}}}} \\",
        ]
        for line in grid_lines:
            cells = [escape(text) for text in (line.label, line.evaluations, line.seeds)]
            lines.append(_row([*cells, *(_latex(entry) for entry in line.entries)]))
    notes = " ".join(escape(note) for note in grid.notes)
    end = [r"\bottomrule", r"\end{tabular}", rf"\par\smallskip\footnotesize {notes}", r"\end{table}"]
    return "\n".join([*lines, *end]) + "\n"


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def escape(text: str) -> str:
    """Text as LaTeX that prints it."""
    return "".join(LATEX.get(character, character) for character in text)


def _latex(entry: Entry) -> str:
    value = rf"\textbf{{{escape(entry.text)}}}" if entry.bold else escape(entry.text)
    detail = rf" {{\scriptsize {escape(entry.detail)}}}" if entry.detail else ""
    return value + escape(entry.mark) + detail


FORMATS: dict[str, Callable[[Grid], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
