"""The arrows between the packages, what each file may import, and what a cold start of the command line loads.

The first tests read the sources and run none of them; the last ones start a fresh interpreter, or build the wheel.
"""

import ast
import fnmatch
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("lc_core", "sweep", "studies", "reports")
SOURCES = sorted(path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

# What the files of each part may import of ours, besides their own part: no arrow goes upward, and none in a circle.
# A part is a folder, or a file beside the folders. Each line names only parts that are defined above it.
CORE = {
    "lc_core.compression": (),
    "lc_core.graph": (),
    "lc_core.parameters": (),
    "lc_core.compiled": (),
    "lc_core.fields": (),
    "lc_core.numerics": ("lc_core.compiled",),
    "lc_core.coding": ("lc_core.compiled",),
    "lc_core.compressions": ("lc_core.compression", "lc_core.fields", "lc_core.numerics"),
    "lc_core.training": ("lc_core.fields", "lc_core.numerics"),
    "lc_core.schedule": ("lc_core.fields", "lc_core.training"),
    "lc_core.task": ("lc_core.compression", "lc_core.compressions"),
    "lc_core.plan": (
        *("lc_core.compression", "lc_core.compressions", "lc_core.graph", "lc_core.parameters", "lc_core.task"),
    ),
    "lc_core.algorithm": (
        *("lc_core.compression", "lc_core.parameters", "lc_core.task", "lc_core.training", "lc_core.schedule"),
    ),
    "lc_core.methods": (
        *("lc_core.algorithm", "lc_core.compression", "lc_core.compressions", "lc_core.parameters", "lc_core.task"),
        *("lc_core.fields", "lc_core.schedule", "lc_core.training"),
    ),
    "lc_core.file": (
        *("lc_core.coding", "lc_core.compression", "lc_core.compressions", "lc_core.numerics", "lc_core.parameters"),
        "lc_core.task",
    ),
    "lc_core.structure": (
        *("lc_core.compression", "lc_core.compressions", "lc_core.file", "lc_core.graph", "lc_core.parameters"),
        *("lc_core.plan", "lc_core.task", "lc_core.training"),
    ),
    "lc_core.onnx": (
        *("lc_core.compression", "lc_core.compressions", "lc_core.file", "lc_core.numerics", "lc_core.structure"),
        "lc_core.training",
    ),
    "lc_core": ("lc_core",),
}
JUDGING = ("sweep.criteria", "sweep.target")
ARROWS: dict[str, tuple[str, ...]] = CORE | {
    "sweep": (),
    "sweep.intervals": (),
    "sweep.criteria": ("sweep.intervals",),
    "sweep.target": ("sweep.criteria",),
    "sweep.store": ("lc_core", *JUDGING),
    "sweep.study": ("lc_core", *JUDGING, "sweep.store"),
    "sweep.job": ("lc_core", "sweep.intervals", "sweep.store", "sweep.study"),
    "sweep.search.summary": ("sweep.target",),
    "sweep.search": (*JUDGING, "sweep.intervals", "sweep.store", "sweep.study"),
    "sweep.pick": ("lc_core", *JUDGING, "sweep.intervals", "sweep.store", "sweep.study", "sweep.job"),
    "sweep.prepare": ("lc_core", *JUDGING, "sweep.store", "sweep.study", "sweep.job", "sweep.search"),
    "sweep.execution": (
        *("lc_core", *JUDGING, "sweep.store", "sweep.study", "sweep.job", "sweep.search", "sweep.pick"),
        "sweep.prepare",
    ),
    "sweep.bench": ("lc_core", "sweep.store", "sweep.study", "sweep.job", "sweep.pick", "sweep.execution"),
    "reports.facts": (*JUDGING, "sweep.intervals", "sweep.store", "sweep.search.summary", "sweep.pick"),
    "reports.figures": ("reports.facts", *JUDGING, "sweep.store", "sweep.pick"),
    "reports.page": ("reports.facts", "reports.figures", *JUDGING, "sweep.intervals", "sweep.store"),
    "reports.markdown": ("sweep.store",),
    "reports.exports": ("sweep.store",),
    "reports.digest": (
        *("reports.facts", "reports.figures", "reports.markdown", *JUDGING, "sweep.store", "sweep.pick"),
    ),
    "reports.compare": (
        "reports.facts",
        "reports.figures",
        "reports.markdown",
        *JUDGING,
        "sweep.store",
        "sweep.pick",
    ),
    "reports": ("reports", *JUDGING, "sweep.store", "sweep.pick"),
    "sweep.results": (*JUDGING, "sweep.store", "sweep.study", "sweep.pick", "reports"),
    "sweep.cli": ("sweep", "lc_core", "reports"),
    "sweep.library": ("sweep", "sweep.cli"),
    "studies": ("studies", "sweep.study", "lc_core"),
}

CORE_LIBRARIES = {"numpy", "safetensors", "sklearn", "torch", "zstandard"}
# The extra `onnx` (google.protobuf comes with it), which only files of that name may import.
ONNX_LIBRARIES, ONNX_FILES = {"google", "onnx", "onnxruntime", "onnxscript"}, "lc_core/onnx/*.py"
# What only the named files may import, whole or through an attribute.
ONLY = {
    "ray": {
        *("sweep/execution/cluster.py", "sweep/execution/connection.py", "sweep/execution/ray_internals.py"),
        *("sweep/execution/runner.py", "sweep/execution/tracking.py", "sweep/execution/tune_adapters.py"),
        *("sweep/execution/tune_events.py", "sweep/execution/worker.py"),
    },
    "optuna.samplers": {f"sweep/search/{name}.py" for name in ("sampler", "trials", "smallest", "proposed")},
    "optuna.storages._rdb": {"sweep/search/tables.py"},
    "matplotlib.pyplot": set(),  # it keeps figures and a backend for the whole process
}
NOT_IN_REPORTS = ("optuna", "ray", "torch")
HEAVY = ("matplotlib", "onnx", "onnxruntime", "onnxscript", "optuna", "pandas", "ray", "torch")

TOP_LEVEL = {"pyproject.toml", "sweep", "lc_core", "studies", "tests", "reports", "README.md"}
ALSO_ALLOWED = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile"} | {
    "benchmarks",
    "deploy",
    "docs",
}
ALSO_ALLOWED |= {"SECURITY.md", "constraints.txt", "mkdocs.yml"}


def imported(source: str, *, file: str) -> list[tuple[int, str]]:
    """(line, dotted name) of all that `source` imports; `from a import b` and an attribute `a.b` both give a.b."""
    tree = ast.parse(source, filename=file)
    folder = Path(file).parent.parts
    found: list[tuple[int, str]] = []
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    found.append((node.lineno, alias.name))
                    name = alias.name if alias.asname else alias.name.split(".")[0]
                    bound[alias.asname or name] = name
            case ast.ImportFrom():
                above = folder[: len(folder) - node.level + 1] if node.level else ()
                module = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    found.append((node.lineno, f"{module}.{alias.name}"))
                    bound[alias.asname or alias.name] = f"{module}.{alias.name}"
            case ast.Call(func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module")):
                if node.args and isinstance(node.args[0], ast.Constant):
                    found.append((node.lineno, str(node.args[0].value)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node)):
            head, rest = dotted.split(".", 1)
            if head in bound:
                found.append((node.lineno, f"{bound[head]}.{rest}"))
    return found


def _dotted(node: ast.expr) -> str | None:
    """`a.b.c` of an attribute chain that starts at a name; None for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (above := _dotted(node.value)):
        return f"{above}.{node.attr}"
    return None


def within(name: str, modules: tuple[str, ...]) -> bool:
    """Whether the dotted `name` is one of `modules` or lies below one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def public(name: str, *, part: str) -> bool:
    """Whether `name` is in the public face of the core, lc_core/__init__.py, for a file that may import the core."""
    return name.count(".") == 1 and within(name, ("lc_core",)) and "lc_core" in ARROWS[part]


def part_of(file: str) -> str:
    """The part that `file` is in, a key of ARROWS."""
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return max((part for part in ARROWS if within(module, (part,))), key=len)


def violations(source: str, *, file: str) -> Iterator[str]:
    """What `file` imports against the design, a line each."""
    package, part = file.split("/")[0], part_of(file)
    ours = (part, *ARROWS[part])
    libraries = CORE_LIBRARIES | (ONNX_LIBRARIES if fnmatch.fnmatch(file, ONNX_FILES) else set())
    for line, name in imported(source, file=file):
        where = f"{file}:{line} imports {name}"
        top = name.split(".")[0]
        if top in (*PACKAGES, "tests", "benchmarks") and not within(name, ours) and not public(name, part=part):
            yield f"{where}; of ours it may import {', '.join(ours)}"
        if package == "lc_core" and top not in {"lc_core", *libraries, *sys.stdlib_module_names}:
            yield f"{where}; the core imports {', '.join(sorted(libraries))} and the standard library"
        if package != "lc_core" and top in ONNX_LIBRARIES:
            yield f"{where}; only {ONNX_FILES} may"
        if package == "reports" and top in NOT_IN_REPORTS:
            yield f"{where}; reports read files and train nothing"
        for module, files in ONLY.items():
            if within(name, (module,)) and file not in files:
                yield f"{where}; only {', '.join(files)} may"


def test_every_package_has_sources() -> None:
    assert {file.split("/")[0] for file in SOURCES} == set(PACKAGES)


def test_imports_follow_the_arrows() -> None:
    found = [line for file in SOURCES for line in violations((ROOT / file).read_text(encoding="utf-8"), file=file)]
    assert found == []


def test_no_arrow_goes_in_a_circle() -> None:
    parts = list(ARROWS)
    for place, (part, targets) in enumerate(ARROWS.items()):
        for target in targets:
            if target not in PACKAGES:
                assert parts.index(target) < place, f"{part} imports {target}, which is defined below it"


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("lc_core/task.py", "import pandas"),
        ("lc_core/task.py", "def f():\n    import ray"),
        ("lc_core/task.py", "from sweep import store"),
        ("lc_core/task.py", "from ..sweep import store"),
        ("lc_core/file/task.py", "import importlib\nimportlib.import_module('optuna')"),
        ("lc_core/file/artifact.py", "def f():\n    from onnx import helper"),
        ("lc_core/numerics/svd.py", "from lc_core.compressions import pruning"),
        ("lc_core/compressions/pruning.py", "from lc_core.plan import Joint"),
        ("sweep/pick/export.py", "import onnxruntime"),
        ("sweep/cli/app.py", "import ray"),
        ("sweep/cli/app.py", "from studies import digits_mlp"),
        ("sweep/store/table.py", "from optuna.samplers import TPESampler"),
        ("sweep/store/table.py", "import optuna\noptuna.samplers.TPESampler()"),
        ("sweep/store/table.py", "from optuna import samplers"),
        ("sweep/store/table.py", "import reports.page"),
        ("sweep/store/table.py", "from tests import conftest"),
        ("studies/digits_mlp.py", "from sweep.store.table import table"),
        ("studies/digits_mlp.py", "import ray.tune as tune"),
        ("reports/page/html.py", "import torch.nn"),
        ("reports/page/html.py", "from lc_core import artifact"),
        ("reports/page/html.py", "from sweep.job.compress import run_job"),
        ("reports/page/html.py", "from sweep.execution import runner"),
    ],
)
def test_a_wrong_import_is_found(file: str, source: str) -> None:
    assert list(violations(source, file=file))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "lc_core/task.py",
            "import math\nimport torch.nn.functional as F\nfrom sklearn.cluster import KMeans\n"
            "from .compressions import pruning",
        ),
        ("lc_core/file/artifact.py", "from ..task import gather\nfrom .other import x"),
        ("lc_core/onnx/file.py", "import onnx\nimport onnxruntime\nfrom google.protobuf.message import Message"),
        (
            "sweep/execution/runner.py",
            "from ray import tune\nfrom sweep.store.job import Job\nfrom lc_core.file import artifact",
        ),
        ("sweep/search/sampler.py", "import optuna\noptuna.samplers.TPESampler()"),
        ("sweep/store/table.py", "import optuna\noptuna.storages.RDBStorage"),
        ("sweep/cli/app.py", "def report():\n    from reports.page import html"),
        (
            "studies/digits_mlp.py",
            "from sweep.study import Study\nfrom lc_core import L0Pruning\nimport pandas",
        ),
        (
            "reports/page/html.py",
            "from sweep.intervals import wilson\nfrom reports.facts.columns import COLUMNS",
        ),
    ],
)
def test_a_right_import_passes(file: str, source: str) -> None:
    assert list(violations(source, file=file)) == []


def returns(source: str) -> list[str]:
    """Tests that return before their end: where one does, it may pass without having asserted anything."""
    tests = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"
    ]
    return [test.name for test in tests if any(isinstance(node, ast.Return) for node in of_its_own(test))]


def of_its_own(function: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a function's body, but for functions in it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield node
            yield from of_its_own(node)


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.name)
def test_no_test_returns_early(path: Path) -> None:
    assert returns(path.read_text(encoding="utf-8")) == []


def test_a_test_that_returns_early_is_found() -> None:
    source = (
        "def test_a(x):\n    if x:\n        return\n    assert x\n\ndef test_b():\n    def f():\n        return 1\n"
    )
    assert returns(source) == ["test_a"]


def tracked() -> set[str] | None:
    """Names at the top of what git tracks here; None where it does not tell, as in a source archive."""
    if not (ROOT / ".git").exists():  # else git would tell of a repository around this folder
        return None
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return {path.split("/")[0] for path in done.stdout.split("\0") if path}


def test_the_top_level_is_as_the_design_fixes_it() -> None:
    """Of files that git tracks: a user may keep others beside them."""
    names = tracked()
    assert {path.name for path in ROOT.iterdir()} >= TOP_LEVEL
    if names is not None:
        assert {name for name in names if not name.startswith(".")} - TOP_LEVEL - ALSO_ALLOWED == set()


def loaded_by(code: str, *, cwd: Path) -> set[str]:
    """The top-level names of all modules that a fresh interpreter has loaded after `code`; fails when `code` does."""
    code += "\nimport json, sys\nprint('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def run_command(arguments: list[str]) -> str:
    """Code that runs `lcsweep` with `arguments` in its own process and goes on when it exits with 0."""
    return f"""
import sys
from sweep.cli import main
sys.argv = ["lcsweep", *{arguments!r}]
try:
    code = main()
except SystemExit as stop:
    code = stop.code
if code not in (None, 0):
    sys.exit(f"lcsweep exited with {{code}}")
"""


def write_sweep(folder: Path) -> None:
    """A sweep's folder with a manifest and one finished job."""
    accuracy = {"accuracy": 0.975, "n": 359, "low": 0.953, "high": 0.987}
    sweep = {"format": 1, "study": "digits_mlp", "study_hash": "fedcba9876543210"}
    manifest = sweep | {
        "reference_study": "studies.digits_mlp", "metric": "accuracy", "target": {"max_drop": 0.01}, "versions": {},
        "user_folder": ".", "sweep": "0" * 32, "study_parts": {}, "repeats": 1,
        "splits": {"train": 1078, "val": 359, "test": 360},
        "reference": {"bytes": 64000, "parameters": 17226, "macs": 17024, "val": accuracy},
    }  # fmt: skip
    record = sweep | {
        "id": "0123456789abcdef", "status": "done", "error": None, "finished": "2026-01-01T00:00:00+00:00",
        "family": "prune", "configuration": {"keep": 0.05}, "method": "lc", "seed": 0, "schedule": {}, "versions": {},
        "plan": "0" * 16,
        "nominal_bytes": 4410, "artifact_bytes": 4120, "artifact_sha256": "0" * 64, "reference_bytes": 64000,
        "macs": 17024, "reference_macs": 17024, "val": accuracy, "direct": accuracy,
        "gap": 0.004, "epochs": 60.0, "seconds": 2.3, "device": "cpu",
    }  # fmt: skip
    job = folder / "artifacts" / str(record["id"])
    job.mkdir(parents=True)
    (job / "record.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "sweep.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    assert loaded_by(run_command(["--help"]), cwd=tmp_path) & set(HEAVY) == set()


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_status_loads_nothing_heavy(tmp_path: Path, flags: list[str]) -> None:
    folder = tmp_path / "digits_mlp"
    write_sweep(folder)
    assert loaded_by(run_command(["status", str(folder), *flags]), cwd=tmp_path) & set(HEAVY) == set()


def test_the_core_works_without_the_extra(tmp_path: Path) -> None:
    assert loaded_by("import lc_core, sweep.pick.verify", cwd=tmp_path) & ONNX_LIBRARIES <= {"google"}


def test_reports_load_neither_torch_nor_ray(tmp_path: Path) -> None:
    files = [file for file in SOURCES if file.startswith("reports/")]
    modules = [file.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for file in files]
    assert loaded_by(f"import {', '.join(modules)}", cwd=tmp_path) & {*NOT_IN_REPORTS, "sklearn", "studies"} == set()


@pytest.mark.slow
def test_the_wheel_carries_every_source_and_template(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*build, "--wheel-dir", str(tmp_path), str(tree)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("lcsweep-*.whl")
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    found = (
        path
        for kind in ("j2", "js", "css", "c")
        for package in PACKAGES
        for path in (ROOT / package).rglob(f"*.{kind}")
    )
    templates = {path.relative_to(ROOT).as_posix() for path in found}
    assert templates
    assert {*SOURCES, *templates} <= in_wheel
