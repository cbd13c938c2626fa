"""Imports point down, as ARCHITECTURE.md shows: this test reads the imports as syntax."""

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tlfeatures"

# From the top to the bottom. A module imports modules of its own layer or of layers below it. No
# two modules import each other, even by way of others.
LAYERS = [
    ["cli", "__main__"],
    ["terminal"],
    ["reports"],
    ["benchmarking"],
    ["models"],
    ["model_selection"],
    ["heads"],
    ["dataset"],
    ["metrics"],
    ["features.extract", "features.verify", "features.merge", "features.transformer"],
    ["features.import_features"],
    ["features.exchange"],
    ["features.doctor"],
    ["features.advice", "features.measure_vgg16"],
    ["features.diagnosis"],
    ["features.list_backbones"],
    ["features.row_checks", "features.recompute"],
    ["features.cluster"],
    ["features.carry_out"],
    ["features.run"],
    ["features.calibrate", "features.plan", "features.measure_engines"],
    ["features.measured_rates"],
    ["features.file"],
    ["features.embed"],
    ["features.batches"],
    ["features.settings"],
    ["features.engines"],
    ["features.spec", "features.combined"],
    ["features.imported", "features.extraction", "features.verification"],
    ["features.backbones"],
    ["features.images"],
    ["features.sources"],
    ["features.row_cosines"],
    ["file_result"],
    ["data_frames", "html_tables", "progress"],
    ["locks", "files", "names", "equality", "errors", "machine", "installed", "threads"],
]
RANKS = {f"tlfeatures.{name}": rank for rank, layer in enumerate(LAYERS) for name in layer}


@cache
def modules(folder=PACKAGE):
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


@cache
def imports(path):
    """Give the modules of this package that a file imports, also for types alone."""
    names, found = {module for module, _ in modules()}, set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & names
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            for alias in node.names:
                found |= {f"{node.module}.{alias.name}", node.module} & names
    return found


def rank_of(module):
    """Give the number of a module's layer, 0 at the top; None of a module above all layers."""
    parts = module.split(".")
    starts = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((RANKS[start] for start in starts if start in RANKS), None)


MODULES = [(module, path) for module, path in modules() if rank_of(module) is not None]


def test_every_module_has_a_layer():
    without = [module for module, _ in modules() if rank_of(module) is None]
    # The public names, which load on first use, and a folder that has a docstring alone.
    assert without == ["tlfeatures", "tlfeatures.features"]


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[module for module, _ in MODULES])
def test_imports_point_down(module, path):
    for imported in sorted(imports(path) - {"tlfeatures", module}):
        rank = rank_of(imported)
        assert rank is not None, f"{module} imports {imported}, which has no layer"
        assert rank >= rank_of(module), f"{module} imports {imported}, which is above it"


def test_no_two_modules_import_each_other_even_by_way_of_others():
    graph = {module: imports(path) - {module, "tlfeatures"} for module, path in MODULES}
    while leaves := [module for module, imported in graph.items() if not imported & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph, f"these import each other in a circle: {sorted(graph)}"


def test_metrics_take_arrays_and_know_no_dataset_and_no_file():
    allowed = ("tlfeatures.metrics", *(f"tlfeatures.{name}" for name in LAYERS[-1]))
    for module, path in modules(PACKAGE / "metrics"):
        for imported in sorted(imports(path) - {"tlfeatures"}):
            assert imported.startswith(allowed), f"{module} imports {imported}"


def test_each_folder_says_what_it_is_for_what_comes_in_and_what_goes_out():
    for path in sorted(PACKAGE.rglob("__init__.py")):
        if path.parent in (PACKAGE, PACKAGE / "cli"):  # the public names, and the entry point
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstring = ast.get_docstring(tree) or ""
        assert all(part in docstring for part in ("In: ", "Out: ")), path
        assert len(tree.body) == 1, f"{path} has more than a docstring"
