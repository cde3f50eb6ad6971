"""Count what makes the code easy or hard to find one's way in: ``python -m tests.structure.measure [--root DIR]``.

Prints ``name value`` lines, or JSON with ``--json``; ``--verbose`` lists what was counted. Each figure is given for the
package, for ``functions/`` and ``infra/`` together, and for ``tests/``.

files, lines          Python files that are not empty, and their lines. ``median_lines``: those of the middle file.
largest_folder        How many Python files lie side by side in the fullest folder.
single_importers      Modules that exactly one module imports; for the product, a test is no importer. A package's
                      ``__init__`` is its public face: it lies in the folder above.
duplicate_pairs       Pairs of places that share six or more lines in a row, each counted once, however long it is.
                      Imports, comments, blank lines, lone punctuation and indentation do not count.
comment_lines         Lines that hold a comment only.
dangling_docstrings   Docstrings that begin with "Of", "By" and the like, and so with half a sentence.
circular_imports      Groups of modules that import each other while they are loaded.
circular_packages     Groups of first-level packages that import each other while they are loaded or run.
traced                Files of the package that one record passes through: see ``traced_files.py``.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import statistics
import subprocess
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import resolve_name
from itertools import combinations
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
TRACER = Path(__file__).with_name("traced_files.py")
PACKAGE = Path("layers/core/python/promptmill")
GROUPS = {"package": (PACKAGE,), "functions_and_infra": (Path("functions"), Path("infra")), "tests": (Path("tests"),)}
SMALL_FILE_LINES = 60
MIN_SHARED_LINES = 6
DANGLING = re.compile(r"(Of|By|That|None|All of it|What|Whether)\b")
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

When = Literal["loading", "running", "types"]
Graph = dict[str, set[str]]


@dataclass(frozen=True)
class Source:
    """One Python file; ``module`` is its name in an import."""

    path: Path
    module: str
    text: str

    @property
    def package(self) -> str:
        return self.module if self.path.name == "__init__.py" else folder_of(self.module)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def comment_lines(self) -> set[int]:
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return {t.start[0] for t in tokens if t.type == tokenize.COMMENT and t.line.lstrip().startswith("#")}


@dataclass
class Report:
    """Figures by name, and what was counted for them."""

    figures: dict[str, float | str] = field(default_factory=dict)
    counted: dict[str, list[str]] = field(default_factory=dict)

    def add_list(self, name: str, found: Iterable[str]) -> None:
        self.counted[name] = sorted(found)
        self.figures[name] = len(self.counted[name])


def folder_of(module: str) -> str:
    return module.rpartition(".")[0]


def first_level(module: str) -> str:
    return ".".join(module.split(".")[:2])


def read_sources(root: Path, folders: Iterable[Path]) -> list[Source]:
    paths = [path.relative_to(root) for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    return [Source(path, _module(path), (root / path).read_text()) for path in paths]


def _module(path: Path) -> str:
    parts = (path.relative_to(PACKAGE.parent) if path.is_relative_to(PACKAGE) else path).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def report_texts(report: Report, group: str, sources: list[Source]) -> None:
    lengths = [len(source.text.splitlines()) for source in sources if source.text]
    ((largest, most),) = Counter(str(source.path.parent) for source in sources).most_common(1)
    found = [(source, text) for source in sources for text in docstrings(source.tree)]
    dangling = [f"{source.path}: {text.splitlines()[0]}" for source, text in found if DANGLING.match(text)]
    report.figures |= {
        f"{group}.files": len(lengths),
        f"{group}.lines": sum(lengths),
        f"{group}.median_lines": int(statistics.median(lengths)),
        f"{group}.files_under_{SMALL_FILE_LINES}_lines": sum(length < SMALL_FILE_LINES for length in lengths),
        f"{group}.largest_folder": most,
        f"{group}.largest_folder_name": largest,
        f"{group}.comment_lines": sum(len(source.comment_lines) for source in sources),
        f"{group}.dangling_docstrings_percent": round(100 * len(dangling) / max(len(found), 1), 1),
    }
    report.add_list(f"{group}.dangling_docstrings", dangling)
    report.add_list(f"{group}.duplicate_pairs", duplicate_pairs(sources))


def docstrings(tree: ast.Module) -> Iterator[str]:
    yield from filter(None, (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, DOCUMENTED)))


def duplicate_pairs(sources: list[Source]) -> list[str]:
    texts = [list(_lines_that_count(source)) for source in sources]
    places = defaultdict[tuple[str, ...], list[tuple[int, int]]](list)
    for file, lines in enumerate(texts):
        for start in range(len(lines) - MIN_SHARED_LINES + 1):
            places[tuple(text for _, text in lines[start : start + MIN_SHARED_LINES])].append((file, start))
    pairs = {pair for found in places.values() for pair in combinations(found, 2) if not _overlap(*pair)}
    firsts = [((a, i), (b, j)) for (a, i), (b, j) in pairs if ((a, i - 1), (b, j - 1)) not in pairs]
    return [" ~ ".join(f"{sources[file].path}:{texts[file][start][0]}" for file, start in pair) for pair in firsts]


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) < MIN_SHARED_LINES


def _lines_that_count(source: Source) -> Iterator[tuple[int, str]]:
    imports = [node for node in ast.walk(source.tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    skipped = source.comment_lines.union(*(range(n.lineno, (n.end_lineno or n.lineno) + 1) for n in imports))
    for number, line in enumerate(source.text.splitlines(), 1):
        if number not in skipped and re.search(r"\w", line):
            yield number, " ".join(line.split())


def import_graph(sources: list[Source], *when: When) -> Graph:
    """Map each module to the modules among ``sources`` that it imports at these times."""
    known = {source.module for source in sources}
    return {s.module: {name for name, at in _imports(s, known) if at in when} - {s.module} for s in sources}


def _imports(source: Source, known: set[str]) -> Iterator[tuple[str, When]]:
    for node, when in _import_nodes(source.tree, "loading"):
        for alias in node.names:
            name = alias.name
            if isinstance(node, ast.ImportFrom):
                module = resolve_name("." * node.level + (node.module or ""), source.package)
                name = f"{module}.{name}" if f"{module}.{name}" in known else module
            if name in known:
                yield name, when


def _import_nodes(parent: ast.AST, when: When) -> Iterator[tuple[ast.Import | ast.ImportFrom, When]]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, when
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _import_nodes(node, "types")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _import_nodes(node, "running")
        else:
            yield from _import_nodes(node, when)


def report_imports(report: Report, group: str, sources: list[Source], importing: list[Source]) -> None:
    importers, packages = defaultdict[str, list[str]](list), defaultdict[str, set[str]](set)
    for module, targets in import_graph(importing, "loading", "running").items():
        for target in targets:
            importers[target].append(module)
    for module, targets in import_graph(sources, "loading", "running").items():
        packages[first_level(module)] |= {first_level(target) for target in targets} - {first_level(module)}
    single = [(s.module, importers[s.module][0]) for s in sources if len(importers[s.module]) == 1]
    own = [pair for pair in single if folder_of(pair[0]) == folder_of(pair[1])]
    circular = circles(import_graph(sources, "loading"))
    report.figures[f"{group}.single_importers"] = len(single)
    report.add_list(f"{group}.single_importers_in_own_folder", (f"{module} <- {user}" for module, user in own))
    report.add_list(f"{group}.circular_imports", map(" ".join, circular))
    report.add_list(f"{group}.circular_packages", map(" ".join, circles(packages)))


def circles(graph: Graph) -> set[tuple[str, ...]]:
    """Return the groups whose members all reach each other."""
    reached = {name: _reached_from(name, graph) for name in graph}
    return {tuple(sorted(o for o in reached[name] if name in reached[o])) for name in graph} - {()}


def _reached_from(name: str, graph: Graph) -> set[str]:
    found, waiting = set[str](), list(graph[name])
    while waiting:
        if (module := waiting.pop()) not in found:
            found.add(module)
            waiting.extend(graph[module])
    return found


def measure(root: Path) -> Report:
    report, groups = Report(), {group: read_sources(root, folders) for group, folders in GROUPS.items()}
    product = groups["package"] + groups["functions_and_infra"]
    for group, sources in groups.items():
        report_texts(report, group, sources)
        report_imports(report, group, sources, sources if group == "tests" else product)
    return report


def report_traces(report: Report, root: Path, tracer: Path = TRACER) -> None:
    command = [sys.executable, "-P", str(tracer), str(root / PACKAGE)]
    path = f"{root}:{(root / PACKAGE).parent}"
    done = subprocess.run(command, env={"PYTHONPATH": path}, check=True, stdout=subprocess.PIPE)
    for way, files in json.loads(done.stdout).items():
        report.add_list(f"traced.{way}", files)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count what makes the code easy or hard to find one's way in.")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure (default: this one)")
    parser.add_argument("--tracer", type=Path, default=TRACER, help="the traced_files.py that fits that checkout")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    parser.add_argument("--verbose", action="store_true", help="list what was counted as well")
    options = parser.parse_args()
    report = measure(options.root.resolve())
    report_traces(report, options.root.resolve(), options.tracer)
    counted = report.counted if options.verbose else {}
    lines = ["\n    ".join([f"{name} {value}", *counted.get(name, [])]) for name, value in report.figures.items()]
    as_json = json.dumps(report.figures | ({"counted": counted} if counted else {}), indent=2)
    sys.stdout.write((as_json if options.json else "\n".join(lines)) + "\n")


if __name__ == "__main__":
    main()
