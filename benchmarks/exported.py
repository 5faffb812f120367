"""Exported ONNX files: bytes on disk, latency in ONNX Runtime and outputs, of seven compressions of two networks.

The networks are digits and LeNet300. Each row is one compression of one network. Ours and against are the P50 latencies
of its ONNX file and of the dense reference's: one example, one thread, in the same rounds. The ratio is their median
over the rounds. A row holds if the ratio is at most 1.05, the file takes at most 5 % and 4 kB more than the packed file
before zstd, and its outputs are torch's within 1e-5 of the largest. The outputs of int8 are not compared, since its
arithmetic has eight bits. --table prints all that was measured, as Markdown.

References and jobs are trained for a few epochs. --digits DIR and --lenet300 DIR take them from sweeps of
`studies.digits_mlp` and `studies.mnist_lenet300` instead, and train only jobs that are not there, for as many epochs as
those sweeps. Nothing is written to DIR. LCSWEEP_DATA names the folder of MNIST.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lc_core.file.artifact import Artifact, read
from lc_core.file.entropy import coded_sizes
from lc_core.onnx.build import TOLERANCE, build, parity
from lc_core.onnx.file import Runtime, seal
from lc_core.onnx.int8 import quantized
from rows import Row, options, speak
from sweep.bench.runtimes import Model, packed_model
from sweep.bench.timing import Setup, timed_rows
from sweep.job.compress import run_job
from sweep.job.context import settle_process
from sweep.job.measure import measure
from sweep.prepare.options import Options
from sweep.prepare.prepared import PreparedSweep, prepare
from sweep.store.record import Record
from sweep.store.records import read_job

NETWORKS = {"digits": "studies.digits_mlp", "lenet300": "studies.mnist_lenet300"}
FORMS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "k2": ("quantize", {"size": 2}),
    "k16": ("quantize", {"size": 16}),
    "5pct": ("prune", {"keep": 0.05}),
    "rank20": ("low rank", {"rank": 20}),
    "structured": ("structured", {"keep": 0.5}),
    "prune-codebook": ("prune, quantize", {"keep": 0.05, "size": 4}),
    "int8": ("int8", {"bits": 8}),
}
EPOCHS = {"digits": 20, "lenet300": 3}
"""Epochs of the reference and of each job, where no sweep is given."""
NAMES = tuple(f"{network}-{form}" for network in NETWORKS for form in FORMS)
SLOWER, MORE, BYTES, ROUNDS, EXAMPLES = 1.05, 1.05, 4096, 100, 1000
STUDY = """
from dataclasses import replace

from lc_core import GroupPruning, Recipe, UniformQuantization
from {module} import study as whole
from sweep.study import Family


def structured(configuration):
    return {{"[02]": GroupPruning(keep=configuration["keep"])}}


def int8(configuration):
    return {{"*": UniformQuantization(bits=configuration["bits"])}}


grids = {grids}
study = replace(
    whole,
    families=(
        *(replace(whole.family(name), grid=grid) for name, grid in grids.items()),
        Family("structured", {{"keep": (0.5,)}}, structured),
        Family("int8", {{"bits": (8,)}}, int8),
    ),
)
epochs = {epochs}
if epochs:
    study = replace(
        study, reference=replace(whole.reference, epochs=epochs), schedule=replace(whole.schedule, epochs=epochs)
    )
"""
GRIDS = {"quantize": {"size": (16, 2)}, "prune": {"keep": (0.05,)}, "low rank": {"rank": (20,)}} | {
    "prune, quantize": {"keep": (0.05,), "size": (4,)}
}
HEADING = (
    *(
        "form",
        "bytes before zstd",
        "packed file, bytes",
        "ONNX file, bytes",
        "entropy of codes and supports, bytes",
        "MACs",
        "P50, us",
        "P95, us",
    ),
    *("P50 of dense", "P95 of dense", "parity", "reference, %", "this file, %"),
)


@dataclass(frozen=True)
class Exported:
    """The exported file of one compression of one network.

    Attributes:
        name: the network and the compression.
        record: the job's record.
        payload_bytes: size of its packed file before zstd.
        onnx_bytes: size of its ONNX file.
        entropy_bytes: entropy of its codes and supports; None where it has none.
        parity: difference of ONNX Runtime's outputs from torch's; None for eight-bit arithmetic.
        before: validation accuracy of the reference.
        after: validation accuracy of the ONNX file.
        timing: its row of the latency measurement.
    """

    name: str
    record: Record
    payload_bytes: int
    onnx_bytes: int
    entropy_bytes: int
    parity: float | None
    before: float
    after: float
    timing: Mapping[str, Any]

    def row(self) -> Row:
        """The row of the benchmark."""
        timing, most = self.timing, MORE * self.payload_bytes + BYTES
        same = self.parity is None or self.parity <= TOLERANCE
        holds = timing["ratio"] <= SLOWER and self.onnx_bytes <= most and same
        outputs = f"accuracy {self.after:.2%}" if self.parity is None else f"parity {self.parity:.0e}"
        note = f"{self.onnx_bytes:,} bytes of at most {most:,.0f}, {outputs}"
        ours, against = 1e6 * timing["p50_s"], 1e6 * timing["dense_p50_s"]
        interval = [timing["ratio_low"], timing["ratio_high"]]
        return Row(self.name, ours, against, timing["ratio"], SLOWER, holds, "us", interval, note)

    def cells(self) -> tuple[str, ...]:
        """The line of the table."""
        record, timing = self.record, self.timing
        sizes = (self.payload_bytes, record.artifact_bytes, self.onnx_bytes, self.entropy_bytes, record.macs)
        return (
            self.name,
            *(f"{size:,}" if size else "" for size in sizes),
            f"{1e6 * timing['p50_s']:.1f}",
            f"{1e6 * timing['p95_s']:.1f}",
            f"{timing['ratio']:.2f} ({timing['ratio_low']:.2f} to {timing['ratio_high']:.2f})",
            f"{timing['p95_s'] / timing['dense_p95_s']:.2f}",
            "" if self.parity is None else f"{self.parity:.0e}",
            f"{100 * self.before:.2f}",
            f"{100 * self.after:.2f}",
        )


def exported(network: str, given: Path | None) -> list[Exported]:
    """All compressions of a network. Jobs that the sweep in `given` has are taken from it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "run")
        if given is not None:
            shutil.copytree(given, folder, ignore=shutil.ignore_patterns(".claim", "study.db*", "checkpoints"))
        file = Path(scratch, f"{network}.py")
        file.write_text(STUDY.format(module=NETWORKS[network], grids=GRIDS, epochs=0 if given else EPOCHS[network]))
        return _of(network, _prepared(file, folder))


def _prepared(study: Path, out: Path) -> PreparedSweep:
    return prepare(Options(str(study), str(study.parent), out=out), say=lambda _: None)


def _of(network: str, sweep: PreparedSweep) -> list[Exported]:
    context = sweep.context
    settle_process()
    study, data, example = context.study, context.data, context.data.val.inputs[:64]
    models = [packed_model("dense", context.folder.reference, study, example)]
    records, artifacts = {}, {}
    for form, (family, configuration) in FORMS.items():
        (job,) = (
            job
            for entry in sweep.entries
            for job in entry.jobs
            if (job.family, job.configuration) == (family, configuration)
        )
        found = read_job(context.folder, job.id) or run_job(job, context, report=lambda _: None)
        path = context.folder.artifact(job.id)
        records[form], artifacts[form] = found, read(path)
        onnx = seal(build(artifacts[form], study.new_model(), example), {})
        if form == "int8":
            onnx = seal(quantized(onnx, kind="static", inputs=data.train.inputs), {})
        models.append(Model(form, path, {}, onnx))
    site = Setup(example, None, None, ROUNDS, lambda _: None)
    timings = {
        name: row
        for name, row in timed_rows(models, site, threads=1, batch=1)
        if (row["runs"], row["denormals"]) == ("onnx", "flushed")
    }
    files = {model.name: model.onnx or b"" for model in models}
    before = context.reference_points.value
    inputs = data.val.inputs[:EXAMPLES]
    return [
        Exported(
            f"{network}-{form}",
            records[form],
            artifacts[form].payload_bytes,
            len(files[form]),
            _entropy(artifacts[form]),
            None if form == "int8" else parity(files[form], artifacts[form], study.new_model(), inputs),
            before,
            measure(Runtime(files[form]), data.val, study=study).value,
            timings[form],
        )
        for form in FORMS
    ]


def _entropy(artifact: Artifact) -> int:
    return round(sum(sizes.entropy_bytes for sizes in coded_sizes(artifact.thetas).values()))


def measured(given: argparse.Namespace) -> Iterator[Exported]:
    """The exported files of the given networks and names."""
    for network in NETWORKS:
        if any(name.startswith(f"{network}-") for name in given.only):
            yield from (each for each in exported(network, getattr(given, network)) if each.name in given.only)


if __name__ == "__main__":
    parser = options(__doc__, names=NAMES)
    for network in NETWORKS:
        parser.add_argument(f"--{network}", type=Path, metavar="DIR", help=f"a sweep of {NETWORKS[network]}")
    parser.add_argument("--table", action="store_true", help="print all that was measured, as Markdown")
    arguments = parser.parse_args()
    if arguments.table:
        print(f"| {' | '.join(HEADING)} |")
        print(f"|{' --- |' * len(HEADING)}")
        for each in measured(arguments):
            print(f"| {' | '.join(each.cells())} |", flush=True)
    else:
        speak((each.row() for each in measured(arguments)), as_json=arguments.json)
