"""Every file of a sweep, named in one place."""

import re
from dataclasses import dataclass
from pathlib import Path

from sweep.store.files import StoreError


@dataclass(frozen=True)
class SweepFolder:
    """Every file of a sweep, named in one place. A job's id names no file outside the folder: StoreError."""

    root: Path

    def _of(self, job_id: str) -> str:
        if re.fullmatch(r"\w+", job_id, re.ASCII):
            return job_id
        raise StoreError(f"{self.root}: expected letters and digits as the id of a job, got {job_id!r}")

    @property
    def manifest(self) -> Path:
        return self.root / "sweep.json"

    @property
    def lock(self) -> Path:
        return self.root / ".claim"  # its name in release 0.1.0, so that a running driver of that release is noticed

    @property
    def index(self) -> Path:
        return self.root / "study.db"

    @property
    def reference(self) -> Path:
        return self.root / "reference" / "reference.lcz"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def searches(self) -> Path:
        return self.root / "searches"

    @property
    def test(self) -> Path:
        return self.root / "test"

    def latency(self, job_id: str) -> Path:
        return self.root / "latency" / f"{self._of(job_id)}.json"

    @property
    def pick(self) -> Path:
        return self.root / "pick.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def report(self) -> Path:
        return self.root / "report"

    def record(self, job_id: str) -> Path:
        return self.artifacts / self._of(job_id) / "record.json"

    def search(self, name: str, *, method: str) -> Path:
        return self.searches / (f"{name}.json" if method == "lc" else f"{name}-{method}.json")

    def artifact(self, job_id: str) -> Path:
        return self.artifacts / self._of(job_id) / "model.lcz"

    def checkpoint(self, job_id: str) -> Path:
        return self.checkpoints / self._of(job_id)

    def name_of(self, path: str | Path) -> str:
        """The path of a file of the sweep from its folder on, with slashes."""
        return Path(path).relative_to(self.root).as_posix()

    def diagnostics(self, job_id: str) -> Path:
        return self.artifacts / self._of(job_id) / "diagnostics.json"
