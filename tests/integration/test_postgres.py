"""A sweep whose index is in PostgreSQL: a real server, Debian's, started here and stopped again."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from sweep.search import index
from sweep.store.records import read_records
from tests.sweep import tiny
from tests.sweep.tiny import Said, write_study

pytestmark = pytest.mark.slow

PASSWORD = "unseenanywhere"  # the server takes any


@dataclass
class Server:
    """A PostgreSQL server with an empty database, reached by a socket that only this machine's users see."""

    programs: Path
    folder: Path
    user: str | None
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The storage URL."""
        return f"postgresql+psycopg://lcsweep:{PASSWORD}@/postgres?host={self.folder}"

    def make(self) -> None:
        """Makes the database's files."""
        subprocess.run(
            [self.programs / "initdb", "-D", self.folder / "data", "-U", "lcsweep", "-A", "trust", "--no-sync"],
            user=self.user, check=True, capture_output=True, cwd=self.folder,
        )  # fmt: skip

    def start(self) -> None:
        """Returns when the server takes connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder),
                    *("-c", "listen_addresses=", "-c", "fsync=off"),
                ],
                user=self.user, stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        ready = [self.programs / "pg_isready", "--quiet", "-h", self.folder, "-U", "lcsweep", "-d", "postgres"]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, check=False).returncode != 0:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends the server and its connections."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    assert found, "expected a PostgreSQL server in /usr/lib/postgresql: apt-get install postgresql"
    folder = Path(tempfile.mkdtemp(prefix="lcs-", dir="/tmp"))  # the path of a socket is short
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to be root
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    made = Server(found[-1].parent, folder, user)
    try:
        made.make()
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    return server.url


def lcsweep(here: Path, *arguments: str, **variables: str) -> Said:
    """The command in a process of its own, whose connections end with it."""
    call = [sys.executable, "-c", "import sys; from sweep.cli import main; sys.exit(main())", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])} | variables
    done = subprocess.run(call, cwd=here, env=environment, capture_output=True, text=True, check=False, timeout=300)
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def swept(url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said, Said]:
    """A grid and a search through the command line, each with two workers, and what they said."""
    here = tmp_path_factory.mktemp("postgres")
    write_study(here)
    usual = ("run", "tiny.py", "--workers", "2")
    grid = lcsweep(here, *usual, "--storage", url)
    aimed = ("--search", "smallest", "--max-drop", "0.05", "--confirm", "0")
    search = lcsweep(here, *usual, *aimed, LCSWEEP_STORAGE=url)
    return here / "runs" / "tiny", grid, search


def test_the_server_holds_every_job(url: str, swept: tuple[Path, Said, Said]) -> None:
    root, grid, search = swept
    assert (grid.code, search.code) == (0, 0), (grid, search)
    assert not (root / "study.db").exists()
    records = {record.id: record for record in read_records(root)}
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"poolclass": sqlalchemy.NullPool})
    names = sorted(optuna.get_all_study_names(storage))
    assert [name.split()[1] for name in names] == ["grid", "smallest"]
    studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
    assert sorted(trial.user_attrs["job"] for trial in studies[1].trials) == sorted(records)
    for trial in studies[0].trials:
        record = records[trial.user_attrs["job"]]
        assert trial.values == [1 - record.val.value, record.artifact_bytes]
    trials = studies[1].trials
    best = studies[1].best_trial
    assert best.value == min(trial.values[0] for trial in trials if trial.constraints["shortfall"] <= 0)
    storage.remove_session()


def test_no_file_of_the_sweep_holds_the_password(swept: tuple[Path, Said, Said]) -> None:
    root, grid, search = swept
    assert PASSWORD not in grid.out + grid.err + search.out + search.err
    files = [path for path in root.parents[1].rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]


def test_the_same_command_knows_what_is_done(url: str, swept: tuple[Path, Said, Said]) -> None:
    root, _, _ = swept
    again = lcsweep(root.parents[1], "run", "tiny.py", "--storage", url)
    assert "0 jobs started" in again.out


def test_a_server_that_is_not_there_is_one_line_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweep.search.index.PATIENCE", 0.0)
    said = tiny.lcsweep("run", "tiny.py", "--storage", f"postgresql+psycopg://me:secret@/none?host={tmp_path}")
    assert said.code == 1
    assert said.err.startswith("lcsweep: postgresql+psycopg://me:***@/none?host=")
    assert "the search's index cannot be used" in said.err
    assert "the same command goes on once it can" in said.err
    assert "secret" not in said.err
    assert said.err.count("\n") == 1


def test_a_server_that_is_started_again_meanwhile_is_waited_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When a search starts."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweep.execution.runner.run", tiny.run_here)
    warning = index._log.warning

    def start(*words: object) -> None:
        warning(*words)
        server.start()

    monkeypatch.setattr(index._log, "warning", start)
    server.stop()
    said = tiny.lcsweep("run", "tiny.py", "--storage", server.url, "--workers", "1", "--trials", "1")
    assert (said.code, said.err) == (0, ""), said
    assert [message.partition(" (")[0] for message in caplog.messages] == ["waiting up to 60 s for the search's index"]
    assert PASSWORD not in caplog.text
