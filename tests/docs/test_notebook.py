"""docs/notebook.ipynb: it is what docs/library.md says, and it runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"

# What Jupyter's kernel does with a notebook: its cells run in `__main__`, which no file holds; each is known to
# `linecache` under a name; what is printed does not go to a file descriptor; a last expression is shown.
KERNEL = r"""
import ast, io, json, linecache, sys

class Printed(io.StringIO):
    def fileno(self):
        return 1  # as a kernel's stream says, though it writes elsewhere
    def isatty(self):
        return True

terminal, sys.stdout = sys.stdout, Printed()
shown = []
for number, cell in enumerate(json.load(open(sys.argv[1]))["cells"]):
    if cell["cell_type"] == "code":
        source = "".join(cell["source"])
        name = f"/tmp/ipykernel_0/{number}.py"
        linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
        tree = ast.parse(source)
        last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), globals())
        value = None if last is None else eval(compile(last, name, "eval"), globals())
        if value is not None:
            shown.append(value._repr_png_()[:4].hex() if hasattr(value, "_repr_png_") else value._repr_html_())
print(json.dumps({"printed": sys.stdout.getvalue(), "shown": shown}), file=terminal)
"""


def cells(kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


def test_the_page_shows_the_notebooks_code() -> None:
    page = (ROOT / "docs" / "library.md").read_text()
    code = [block.rstrip("\n") for block in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)]
    assert cells("code") == code
    assert all(cell.get("outputs", []) == [] for cell in json.loads(NOTEBOOK.read_text())["cells"])


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """In an empty folder, with its study sent to real workers."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", KERNEL, str(NOTEBOOK)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert "[6/6]" in found["printed"], "a line for each job"
    assert "\x1b" not in found["printed"], "nothing is redrawn"
    assert "(pid=" not in found["printed"], "Ray's own lines go to the log"
    result, table, front, figure = found["shown"]
    assert "study digits, 6 jobs done" in result
    assert table.count("<tr") == 7
    assert 2 <= front.count("<tr") - 1 <= 6
    assert figure == b"\x89PNG".hex()
    accuracy = re.search(r"bytes, test accuracy ([\d.]+)%\n", found["printed"])
    loaded = re.search(r"tensor\(([\d.]+)\)", found["printed"])
    assert accuracy is not None
    assert loaded is not None
    assert float(accuracy[1]) == pytest.approx(100 * float(loaded[1]), abs=0.011)
    assert (tmp_path / "runs" / "digits" / "report" / "index.html").is_file()
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".pickle")]
