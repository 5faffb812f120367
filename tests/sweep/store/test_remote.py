"""A cloud folder and its mirror, on the file system that every machine has."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sweep.store import remote
from sweep.store.folder import SweepFolder
from sweep.store.records import read_records
from tests.sweep.tiny import lcsweep, tree


@pytest.fixture
def cloud(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished sweep in a cloud folder, with no mirror yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(finished / "cache"))
    return (finished / "runs" / "tiny").rename(finished / "cloud")


@pytest.mark.usefixtures("without_onnx", "png_only")
def test_reading_commands_take_a_url(cloud: Path) -> None:
    url = cloud.as_uri()
    status = lcsweep("status", url, "--json")
    assert (status.code, status.json["done"], status.json["folder"]) == (0, 7, url)
    assert not list(remote.mirror(url).rglob("model.lcz"))  # which status has no need of
    picked = lcsweep("pick", url, "--max-drop", "0.05", "--json")
    assert picked.code == 0
    assert json.loads((cloud / "pick.json").read_text())["id"] == picked.json["id"]
    assert len(list((cloud / "test").iterdir())) == 2  # the looks at the test split count wherever the next one is
    assert lcsweep("export", url, "--out", "model.lcz").code == 0
    assert Path("model.lcz").read_bytes() == SweepFolder(cloud).artifact(picked.json["id"]).read_bytes()
    assert lcsweep("report", url).code == 0
    assert lcsweep("report", url, "--format", "md").code == 0
    for name in ("index.html", "report.md"):  # their commands name the sweep, and not its mirror
        written = (cloud / "report" / name).read_text()
        assert f"--out {url} --job {picked.json['id']}" in written, name
        assert str(remote.mirror(url)) not in written, name


class Refusing(BaseHTTPRequestHandler):
    """Answers each request with 403 and no words."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 on this machine that lets nobody in. Without an S3, Arrow asks again for six seconds."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        yield
        server.shutdown()


def test_only_what_is_missing_or_changed_is_brought(cloud: Path) -> None:
    url = cloud.as_uri()
    root = remote.bring(url)
    assert tree(root) == tree(cloud)
    times = {path: path.stat().st_ctime_ns for path in root.rglob("*") if path.is_file()}
    record = read_records(cloud)[0]
    path = SweepFolder(cloud).record(record.id)
    path.write_text(path.read_text())  # as large as before, and newer
    os.utime(path, ns=(0, 10**18))
    remote.bring(url)
    changed = [path for path, time in times.items() if path.stat().st_ctime_ns != time]
    assert changed == [SweepFolder(root).record(record.id)]


def test_what_the_cloud_lost_the_mirror_loses_but_for_what_is_the_disks_own(cloud: Path) -> None:
    url = cloud.as_uri()
    root = remote.bring(url)
    gone = read_records(cloud)[0].id
    shutil.rmtree(cloud / "artifacts" / gone)
    (root / "study.db").touch()
    remote.begin(url)
    assert len(read_records(root)) == 6
    assert (root / "study.db").exists()
    shutil.rmtree(cloud)
    assert list(remote.begin(url).glob("*")) == []
    said = lcsweep("status", url)
    assert said.code == 1
    assert (
        said.err
        == f"lcsweep: {url}: not a sweep (it has no sweep.json); expected the folder that `lcsweep run` filled\n"
    )


def test_a_jobs_record_is_put_last_and_a_done_one_stays(cloud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = cloud.as_uri()
    worker = SweepFolder(cloud.parent / "worker")
    shutil.copytree(cloud, worker.root)
    record = read_records(cloud)[0]
    path = SweepFolder(cloud).record(record.id)
    shutil.rmtree(path.parent)
    order = []
    write = remote._write
    monkeypatch.setattr(
        remote, "_write", lambda files, path, data: (order.append(Path(path).name), write(files, path, data))
    )
    assert remote.put_job(url, worker, job_id=record.id) == record
    assert order == ["diagnostics.json", "model.lcz", "record.json"]
    other = record.to_json() | {"seconds": 1e9}
    worker.record(record.id).write_text(json.dumps(other))
    assert remote.put_job(url, worker, job_id=record.id) == record
    path.write_text(json.dumps(record.to_json() | {"status": "failed"}))
    assert remote.put_job(url, worker, job_id=record.id).to_json() == other


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://AKIA1:hid/den@bucket/sweeps/a", "s3://***@bucket/sweeps/a"),
        ("s3://bucket/a?region=x&secret_key=hidden", "s3://bucket/a"),
        ("abfs://box@account/a?sas_token=hidden", "abfs://***@account/a"),
    ],
)
@pytest.mark.parametrize("command", [("status",), ("run", "tiny.py", "--out"), ("export", "--out", "x")])
def test_a_url_with_keys_is_refused_without_them(
    url: str, shown: str, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = lcsweep(*command, url)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"lcsweep: {shown}: expected a URL without keys")
    assert "hid" not in said.err
    assert "AKIA1" not in said.err
    assert not list(tmp_path.iterdir())


def test_a_url_that_names_a_user_alone_has_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert remote.mirror("gs://anonymous@bucket/a?endpoint_override=host:1").parent == tmp_path / "lcsweep"


@pytest.mark.parametrize("url", ["ftp://host/folder", "s3://"])
@pytest.mark.usefixtures("refusing_s3")
def test_a_url_that_leads_nowhere_is_one_line(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = lcsweep("status", url)
    assert said.code == 1
    assert said.err.startswith(f"lcsweep: {url}: expected a folder that can be read and written there, such as s3://")
    assert said.err.count("\n") == 1
