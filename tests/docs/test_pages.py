"""README.md and docs/: their files and names exist, their code runs, and the site loads nothing from the network."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer.main
import yaml
from torch import nn

import lc_core
from sweep.cli.app import app
from tests.sweep.tiny import lcsweep

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
AT_THE_TOP = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES = sorted(DOCS.glob("*.md"))
FOLDERS = sorted(
    path.parent.relative_to(ROOT).as_posix()
    for package in ("lc_core", "sweep", "reports", "studies")
    for path in (ROOT / package).rglob("__init__.py")
)
OF_A_FILE = re.compile(r"[\w/]+\.(?:py|c|js|css|j2|html\.j2|md)")


def named(path: Path) -> str:
    return path.name


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[tuple[str, str]]:
    """(title, content) of each fenced block of `language`; the title is empty where there is none."""
    found = re.findall(rf'^```{language}(?: title="([^"]+)")?\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)
    return [(title, content) for title, content in found]


def readme_study() -> str:
    (content,) = [content for _, content in blocks(read(ROOT / "README.md"), "python")]
    return content


# The pages in themselves


def test_the_readme_is_a_first_page() -> None:
    assert len(read(ROOT / "README.md").split()) <= 900


@pytest.mark.parametrize("page", [*AT_THE_TOP, *PAGES], ids=named)
def test_links_to_files_hold(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", read(page))
    files = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [file for file in files if not (page.parent / file).exists()] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=named)
def test_python_on_a_page_is_python(page: Path) -> None:
    for _, content in blocks(read(page), "python"):
        ast.parse(content)


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "commands.md"], ids=named)
def test_every_command_and_option_is_there(page: Path) -> None:
    whole = typer.main.get_command(app)
    commands = whole.commands  # type: ignore[attr-defined]
    parameters = [parameter for command in (whole, *commands.values()) for parameter in command.params]
    options = {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
    assert set(re.findall(r"^\| `lcsweep (\w+)", read(page), re.MULTILINE)) == set(commands)
    said = re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", read(page))
    assert said
    assert set(said) <= options | {"--help"}


def test_the_api_page_has_every_public_name_of_lc_core() -> None:
    said = re.findall(r"^::: lc_core\.(\w+)$", read(DOCS / "api_core.md"), re.MULTILINE)
    assert sorted(said) == sorted(lc_core.__all__)


def test_every_page_is_in_the_site() -> None:
    """`mkdocs build --strict` checks this too, but takes twelve seconds."""
    said = re.findall(r"[\w/]+\.md", read(ROOT / "mkdocs.yml"))
    assert sorted(said) == sorted(path.name for path in PAGES)  # and only once


# The code that they name


def mapped() -> Iterator[tuple[str, Path]]:
    """(folder, path) of each file that docs/architecture.md names."""
    folder = ""
    for line in read(DOCS / "architecture.md").splitlines():
        heading = re.match(r"##+ (.*)", line)
        if heading:
            folder = (re.findall(r"`([\w/]+)`", heading[1]) or [""])[0]
        for name in re.findall(r"`([^`]+)`", line):
            if OF_A_FILE.fullmatch(name):
                yield folder, ROOT / ("" if "/" in name else folder) / name


def test_every_file_that_the_map_names_is_there() -> None:
    files = [path for _, path in mapped()]
    assert len(files) > 100
    assert [path.relative_to(ROOT).as_posix() for path in files if not path.is_file()] == []


def test_every_python_file_is_on_the_map() -> None:
    packages = [ROOT / name for name in ("lc_core", "sweep", "reports")]
    files = {path for package in packages for path in package.rglob("*.py") if path.name != "__init__.py"}
    assert sorted(path.relative_to(ROOT).as_posix() for path in files - {path for _, path in mapped()}) == []


def test_every_folder_is_on_the_map() -> None:
    assert {folder for folder in FOLDERS if f"`{folder}`" not in read(DOCS / "architecture.md")} == set()


def test_every_file_in_the_figure_is_there() -> None:
    names = re.findall(r'class="file">([^<]+)<', read(DOCS / "job.svg"))
    assert len(names) > 5
    assert [name for name in names if not (ROOT / name).exists()] == []


def defined(path: Path) -> set[str]:
    """Names of a module: what it defines, and `Class.name` of what its classes hold."""
    names: set[str] = set()
    for node in ast.parse(read(path)).body:
        match node:
            case ast.FunctionDef():
                names.add(node.name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
            case ast.ClassDef():
                names |= {node.name} | {f"{node.name}.{name}" for name in held(node)}
    return names


def held(node: ast.ClassDef) -> Iterator[str]:
    for part in node.body:
        match part:
            case ast.FunctionDef():
                yield part.name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def test_every_symbol_of_the_algorithm_is_where_the_page_says() -> None:
    places = re.findall(r"`([\w/]+\.py)`(?: \| |, )`([\w.]+)`", read(DOCS / "algorithm.md"))
    assert len(places) > 20
    assert [(file, name) for file, name in places if name not in defined(ROOT / file)] == []


def test_the_version_is_cited_and_in_the_changelog() -> None:
    version = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["version"]
    assert f"\n## {version}\n" in read(ROOT / "CHANGELOG.md")
    cited = yaml.safe_load(read(ROOT / "CITATION.cff"))
    assert cited["version"] == version
    assert cited.keys() >= {"cff-version", "message", "title", "authors"}  # what the format asks for
    assert all(each.keys() >= {"type", "title", "authors"} for each in cited["references"])


# The code that they show


def test_the_study_of_the_readme_is_that_of_the_tutorial() -> None:
    assert dict(blocks(read(DOCS / "tutorial.md"), "python"))["my_study.py"] == readme_study()


def test_the_study_of_the_readme_is_outlined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    torch.save(model.state_dict(), tmp_path / "checkpoint.pt")
    data = {"images": torch.randn(1500, 64), "labels": torch.randint(10, (1500,))}
    torch.save(data, tmp_path / "data.pt")
    (tmp_path / "my_study.py").write_text(readme_study(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    said = lcsweep("run", "my_study.py", "--dry-run")
    assert said.code == 0, said.err
    assert "keep 0.05, size 2" in said.out
    assert "rank 4" in said.out


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path) -> None:
    """Writes every file and runs every command of the page, in order, in an empty folder; then those of README.md."""
    page = read(DOCS / "tutorial.md")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    for title, content in blocks(page, "python"):
        (tmp_path / title).write_text(content, encoding="utf-8")
    commands = [line for _, content in blocks(page, "sh") for line in content.splitlines()]
    assert len(commands) >= 11
    of_readme = [line for _, content in blocks(read(ROOT / "README.md"), "sh") for line in content.splitlines()]
    printed = []
    for command in (*commands, *(line for line in of_readme if not line.startswith("make "))):
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        printed.append(done.stdout)
    assert 0.9 < float(re.findall(r"tensor\((.*)\)", printed[len(commands) - 1])[-1]) < 1
    assert (tmp_path / "runs" / "mine" / "report" / "index.html").is_file()
    assert (tmp_path / "small.onnx").is_file()


# The site


@pytest.mark.slow
def test_the_site_asks_nothing_of_the_network(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)
    loads = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(?:https?:)?//|<link\b[^>]*\bhref=\"?(?:https?:)?//"
    )
    assert [page.name for page in pages if loads.search(page.read_text(encoding="utf-8"))] == []
    styles = [path for path in tmp_path.rglob("*.css") if re.search(r"url\(['\"]?(?:https?:)?//", read(path))]
    assert styles == []
