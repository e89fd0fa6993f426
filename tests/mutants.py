"""Mutation tests: seeded small changes of the code, one at a time, in a copy of the checkout.

`python tests/mutants.py palette/scoring palette/diffusion --count 40 --seed 1` prints the result of each. A mutant that
fails no test of its folder survives: unless it changes no behavior, a test is missing.
"""

import argparse
import ast
import copy
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PAIRS = [(ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot)]
PAIRS += [(ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div)]
FLIPS = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}
NAMES = {"max": "min", "min": "max", "any": "all", "all": "any"}
Slip = tuple[Path, ast.expr, str]
"""File, expression, and what stands there instead."""


def slipped(node: ast.expr) -> ast.expr | None:
    """The expression with a slip in it; None if there is none to make."""
    new = copy.deepcopy(node)
    match new:
        case ast.Compare(ops=[operator, *_]) if type(operator) in FLIPS:
            new.ops[0] = FLIPS[type(operator)]()
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) if type(operator) in FLIPS:
            new.op = FLIPS[type(operator)]()
        case ast.UnaryOp(op=ast.Not()):
            return new.operand
        case ast.Constant(value=int() | float() as value):
            return ast.Constant(not value if isinstance(value, bool) else value + 1)
        case ast.Call(func=ast.Name(id=name)) if name in NAMES:
            new.func = ast.Name(NAMES[name])
        case ast.Call(args=[first, second, *rest]):
            new.args = [second, first, *rest]
        case ast.Dict(keys=[_, _, *_]):
            return ast.Dict(new.keys[:-1], new.values[:-1])
        case _:
            return None
    return new


def slips(file: Path) -> Iterator[Slip]:
    """All slips of a file, outside of annotations, decorators and formatted strings."""
    waiting: list[ast.AST] = [ast.parse((CHECKOUT / file).read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.expr) and (changed := slipped(node)):
            yield file, node, ast.unparse(changed)
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list") and not isinstance(node, ast.JoinedStr):
                waiting += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, ast.AST)]


def applied(source: bytes, node: ast.expr, changed: str) -> bytes:
    """The source with an expression replaced; columns count bytes."""
    lines = source.splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset  # type: ignore[operator]
    return source[:start] + f"({changed})".encode() + source[end:]


def tests_of(file: Path) -> list[str]:
    """The tests of a module's folder: the file of its name first, then those that name the module, then the others."""
    folder = CHECKOUT / "tests" / Path(*file.parts[1:-1])
    while not any(folder.glob("test_*.py")):
        folder = folder.parent
    named = re.compile(rf"{'.'.join(file.parts[:-1])}(\.| import .*\b){file.stem}\b")
    ranks = {test: 2 - bool(named.search(test.read_text())) for test in folder.glob("test_*.py")}
    ranks |= {test: 0 for test in ranks if test.stem == f"test_{file.stem}"}
    if folder.name == "tests":
        ranks = {test: rank for test, rank in ranks.items() if rank < 2}
    return [str(test.relative_to(CHECKOUT)) for test in sorted(ranks, key=lambda test: (ranks[test], test))]


def passes(tests: list[str], copied: Path, seconds: float) -> bool:
    """Run tests in a child, which has torch already. False if one fails, or the time is over."""
    child = os.fork()
    if not child:
        import pytest

        os.setsid()
        os.chdir(copied)
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.1)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", help="files and folders of palette/")
    parser.add_argument("--count", type=int, default=20, help="slips (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws them (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=300, help="for the tests of one; what takes longer is caught")
    parser.add_argument("--tests", nargs="+", help="files of tests, instead of those of each module's folder")
    options = parser.parse_args()
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True  # two slips within a second may leave files of the same size and time
    listed = subprocess.check_output(["git", "ls-files", *options.paths], cwd=CHECKOUT, text=True).split()
    found = [slip for file in listed if file.endswith(".py") for slip in slips(Path(file))]
    chosen = random.Random(options.seed).sample(found, min(options.count, len(found)))
    __import__("torch")  # once for all children
    caught, sound = 0, set()
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "checkout"
        shutil.copytree(CHECKOUT, copied, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__"))
        sys.path[0] = os.environ["PYTHONPATH"] = str(copied)
        for number, (file, node, changed) in enumerate(chosen, 1):
            tests, target = options.tests or tests_of(file), copied / file
            if not sound.issuperset(tests) and not passes(tests, copied, 10 * options.seconds):
                sys.exit(f"{file}: its tests fail without any slip: {' '.join(tests)}")
            sound |= set(tests)
            source = target.read_bytes()
            target.write_bytes(applied(source, node, changed))
            survived = passes(tests, copied, options.seconds)
            target.write_bytes(source)
            caught += not survived
            what = f"{file}:{node.lineno}: {ast.unparse(node)[:100]} → {changed[:100]}"
            print(f"{number}/{len(chosen)} {'SURVIVED' if survived else 'caught'} {what}", flush=True)
    print(f"{caught} of {len(chosen)} caught")


if __name__ == "__main__":
    main()
