"""Output of a sheet as CSV, Markdown, LaTeX and HTML.

FORMATS: file extension → writer, each with the signature (sheet) → text.
"""

import csv
import io
from collections.abc import Callable

from palette.publish.pages.templating import template
from palette.publish.tables.sheet import Entry, Sheet

FIELDS = (
    *(
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
    ),
    *("value", "low", "high", "deviation", "small", "published", "published_table", "published_certainty"),
    *("published_model", "published_dataset", "quoted", "difference", "relative_difference", "status", "scores"),
)
LATEX = {
    **{"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"},
    **{
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "∞": r"$\infty$",
        "—": "---",
        "−": "$-$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "√": r"$\surd$",
    },
    **{"²": r"$^2$", "†": r"$^\dagger$", "°": r"$^\circ$", "…": r"\ldots{}", "’": "'"},
}


def to_csv(sheet: Sheet) -> str:
    """Format as tidy CSV: one row per number, full precision, empty where there is no value, `inf` for infinity."""
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(sheet.records)
    return file.getvalue()


# ------------------------------------------------------------------------------------------------ Markdown


def to_markdown(sheet: Sheet) -> str:
    """Format as a pipe table with one heading line per section, and the notes below."""
    groups = [column.group for column in sheet.columns]
    head = [*sheet.heads, *(_grouped(c.label, c.group, groups) for c in sheet.columns)]
    lines = [f"### {sheet.title}", "", _piped(head), _piped(["---", *["---:"] * (len(head) - 1)])]
    for section in sheet.sections:
        if section.title:
            lines.append(_piped([f"**{_escape_markdown(section.title)}**", *[""] * (len(head) - 1)]))
        for line in section.lines:
            lines.append(_piped([*map(_escape_markdown, line.heads), *map(_markdown, line.entries)]))
    return "\n".join([*lines, "", *(f"{note}  " for note in sheet.notes)]).rstrip() + "\n"


def _grouped(label: str, group: str, groups: list[str]) -> str:
    """Return the heading, with its group if the table has several: `ImageNet FID ↓`."""
    return f"{group} {label}".strip() if len(set(groups)) > 1 else label


def _piped(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape_markdown(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def _markdown(entry: Entry) -> str:
    text = f"*{entry.text}*" if entry.missing and entry.text.isascii() and entry.text else entry.text
    value = f"**{entry.text}**" if entry.bold else text
    return f"{value}{entry.mark} {entry.detail}".rstrip()


# --------------------------------------------------------------------------------------------------- LaTeX


def to_latex(sheet: Sheet) -> str:
    """Format as a booktabs table; needs `\\usepackage{booktabs}`."""
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape(sheet.title)}}}", rf"\label{{tab:{sheet.name}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (sheet.width - 1)}}}", r"\toprule", *_group_row(sheet)]
    lines.append(_row([escape(text) for text in (*sheet.heads, *(column.label for column in sheet.columns))]))
    for section in sheet.sections:
        lines.append(r"\midrule")
        if section.title:
            lines.append(rf"\multicolumn{{{sheet.width}}}{{l}}{{\emph{{{escape(section.title)}}}}} \\")
        for line in section.lines:
            lines.append(_row([*map(escape, line.heads), *map(_latex, line.entries)]))
    notes = " ".join(escape(note) for note in sheet.notes)
    end = [r"\bottomrule", r"\end{tabular}", rf"\par\smallskip\footnotesize {notes}", r"\end{table}"]
    return "\n".join([*lines, *end]) + "\n"


def _group_row(sheet: Sheet) -> list[str]:
    """Return the names of the groups above their columns, and a rule under each."""
    if not sheet.groups:
        return []
    cells, rules, first = [""] * len(sheet.heads), [], len(sheet.heads) + 1
    for name, count in sheet.groups:
        cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape(name)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + count - 1}}}")
        first += count
    return [_row(cells), " ".join(rules)]


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def escape(text: str) -> str:
    """Escape text for LaTeX."""
    return "".join(LATEX.get(character, character) for character in text)


def _latex(entry: Entry) -> str:
    if entry.missing:
        return rf"{{\scriptsize {escape(entry.text)}}}" if entry.text else ""
    value = rf"\textbf{{{escape(entry.text)}}}" if entry.bold else escape(entry.text)
    detail = rf" {{\scriptsize {escape(entry.detail)}}}" if entry.detail else ""
    return value + escape(entry.mark) + detail


# ---------------------------------------------------------------------------------------------------- HTML


def to_html(sheet: Sheet) -> str:
    """Format as a self-contained page without network or scripts, for print, phones, light and dark themes."""
    return template("table.html").render(sheet=sheet, linked=False)


FORMATS: dict[str, Callable[[Sheet], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex, "html": to_html}
