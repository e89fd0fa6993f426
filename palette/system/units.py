"""Numbers and columns for people to read."""

from collections.abc import Iterable


def scaled(number: float, unit: str) -> str:
    """Return a number with three digits and a prefix, `2.24 TFLOP`; below 1000, rounded to a whole number."""
    prefixes = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"]
    while abs(number) >= 999.5 and len(prefixes) > 1:
        number /= 1000
        prefixes.pop(0)
    digits = 0 if prefixes[0] == "" else max(0, 2 - (abs(number) >= 9.995) - (abs(number) >= 99.95))
    return f"{number:.{digits}f} {prefixes[0]}{unit}"


def rounded(number: float) -> str:
    """Return a number with three digits: `0.0314`, `7.57`, `89,100`."""
    return f"{float(f'{number:.3g}'):,.12g}"


def duration(seconds: float) -> str:
    """Return a duration as `45 s`, `12 min`, `3.4 h` or `5.1 days`."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            value = seconds / size
            return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"
    return f"{seconds:.0f} s"


def aligned(rows: Iterable[tuple[str, str]]) -> str:
    """Return names and values in two columns, indented."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:{width}}  {value}" for name, value in rows)
