"""A sweep's model as Hugging Face keeps models: a folder with dense weights in safetensors and a model card."""

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch

from lc_core.file.artifact import ArtifactError, read
from sweep.criteria import best_of
from sweep.pick.choice import seeds_chosen_from
from sweep.pick.size_and_speed import times
from sweep.store.fields import to_json
from sweep.store.files import StoreError, read_optional, sha256_of, write_whole
from sweep.store.folder import SweepFolder
from sweep.store.job import METHODS, name_of
from sweep.store.manifest import Manifest, Reference, read_manifest
from sweep.store.metric import Metric
from sweep.store.record import Done, Score
from sweep.store.records import read_records

WEIGHTS, CARD = "model.safetensors", "README.md"


@dataclass(frozen=True, kw_only=True)
class DenseExport:
    """A folder that was exported.

    Attributes:
        bytes: of the weights' file.
        sha256: of it.
        packed_bytes: of the packed file that it was made from.
        parameters: numbers in it, those of buffers too.
        val: on the validation split, as the record has it.
        best_of: among how many seeds the file was chosen by that score; 1 where it was not.
        tested: whether the card states the test split's too.
    """

    folder: str
    bytes: int
    sha256: str
    packed_bytes: int
    parameters: int
    val: Score
    best_of: int
    tested: bool

    @property
    def chosen(self) -> str:
        """What follows the score on validation where the file was chosen by it."""
        return f"; {best_of(self.best_of)}" if self.best_of > 1 else ""

    def to_json(self) -> dict[str, Any]:
        """The fields by name, those of `val` among them."""
        names = ("folder", "bytes", "sha256", "packed_bytes", "parameters")
        facts = {name: getattr(self, name) for name in names}
        return facts | to_json(replace(self.val, metrics={})) | {"best_of": self.best_of, "tested": self.tested}


def export_safetensors(root: Path, record: Done, *, out: Path) -> DenseExport:
    """Writes the model of a job of the sweep in `root` into the new folder `out`, which appears whole or not at all.

    The weights are those that the packed file decodes to, under the names of the model's `state_dict`: they give the
    same outputs. A tied parameter is there under each of its names.

    Raises:
        ArtifactError: the packed file is not what its record says.
        StoreError: `out` holds something else.
    """
    folder, manifest = SweepFolder(root), read_manifest(root)
    path = folder.artifact(record.id)
    artifact = read(path)
    digest = sha256_of(path)
    if digest != record.artifact_sha256:
        raise ArtifactError(f"{path}: expected SHA-256 {record.artifact_sha256}, as its record says, got {digest}")
    weights = {name: tensor.contiguous().clone() for name, tensor in artifact.weights().items()}
    dense = safetensors.torch.save(weights, metadata={"format": "pt"})
    test = read_optional(folder.test / f"{digest}.json")
    exported = DenseExport(
        folder=str(out),
        bytes=len(dense),
        sha256=hashlib.sha256(dense).hexdigest(),
        packed_bytes=record.artifact_bytes,
        parameters=sum(tensor.numel() for tensor in weights.values()),
        val=record.val,
        best_of=seeds_chosen_from(record, read_records(root)),
        tested=test is not None,
    )
    metric = record.val.metric
    tested = None if test is None else _measured(metric, test[metric.name], test["low"], test["high"], test["n"])
    card = model_card(exported, record, manifest, tested=tested)
    _publish(out, {WEIGHTS: dense, CARD: card.encode()})
    return exported


def model_card(exported: DenseExport, record: Done, manifest: Manifest, *, tested: str | None) -> str:
    """The card, with the YAML that Hugging Face reads at its head. `tested` says what the test split gave."""
    how = METHODS[record.method]
    what = " ".join(name_of(record).split())
    reference = manifest.reference
    source = Path(manifest.reference_study).name  # the card is for others, who do not have the user's folders
    imported, called = ("from lc_core import fold\n", "fold(model)\n") if reference.folded else ("", "")
    val = exported.val
    validation = _measured(val.metric, val.value, val.low, val.high, val.n)
    return f"""---
library_name: pytorch
tags:
- {json.dumps("model-compression")}
- {json.dumps("lcsweep")}
- {json.dumps(" ".join(record.family.split()))}
metrics:
- {val.metric.name if val.metric.name == "accuracy" else json.dumps(val.metric.name)}
model_name: {json.dumps(f"{manifest.study}, {what}")}
---

# {manifest.study}, compressed

The network of the study `{manifest.study}`, compressed by {how} (`{what}`, job `{record.id}`).
`{WEIGHTS}` holds its weights dense, in as much memory as the original's. They give the compressed model's outputs.

| | |
| --- | --- |
| base model | the reference of `{manifest.study}` ({source}): {reference.parameters:,} parameters, \
validation {val.metric.label} {val.metric.told(reference.val.value, gap="")}{reference.footing} |
| packed file | {record.artifact_bytes:,} bytes, {times(record.artifact_bytes, record.reference_bytes)} than the \
reference's {record.reference_bytes:,} (SHA-256 `{record.artifact_sha256}`) |
| this file | {exported.bytes:,} bytes |
| validation | {validation}{exported.chosen} |
| test | {tested or "not measured"} |

## How to load it

`build_model` is the function that the study builds its network with.{_folding(reference)}

```python
from safetensors.torch import load_file
{imported}
model = build_model()
{called}model.load_state_dict(load_file("{WEIGHTS}"))
model.eval()
```
"""


def _folding(reference: Reference) -> str:
    """Why the model is folded before it is loaded; empty where nothing is."""
    by = " and ".join(dict.fromkeys(reference.folded.values()))
    return f"\nIt computes weights by {by}; `fold` makes them plain parameters, as this file has them." if by else ""


def _measured(metric: Metric, value: float, low: float, high: float, n: int) -> str:
    what, least, most = (metric.told(each, gap="") for each in (value, low, high))
    return f"{metric.label} {what} (95 % interval {least} to {most}, n = {n:,})"


def _publish(out: Path, files: dict[str, bytes]) -> None:
    """Writes the files into a folder beside `out` and renames it there. A folder that holds them already stays."""
    if out.is_dir() and any(out.iterdir()):
        names = {path.name for path in out.iterdir()}
        if names == set(files) and all((out / name).read_bytes() == data for name, data in files.items()):
            return
        raise StoreError(f"{out}: expected a new folder, got one that holds other files; name another with --out")
    if out.exists() and not out.is_dir():
        raise StoreError(f"{out}: expected a new folder, got a file; name a folder with --out")
    beside = out.absolute().with_name(f".{out.absolute().name}.{uuid.uuid4().hex[:8]}")
    try:
        for name, data in files.items():
            write_whole(beside / name, data)
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
