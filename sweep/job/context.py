"""What a process needs to run jobs: the study, its data and the reference; and how the process is set up."""

import ctypes
import functools
import platform
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed
from lc_core.file.artifact import read
from lc_core.schedule import Schedule
from lc_core.structure.accounting import ModelMacs, count_macs, model_macs
from lc_core.structure.surgery import cut_weights
from lc_core.task import CompressionTask
from lc_core.training.data import Split, first_inputs
from lc_core.training.loop import batch_norms
from lc_core.training.nest import Nest, map_nest
from sweep.job.evidence import Points
from sweep.job.measure import evidence
from sweep.job.measuring import Measuring, measuring
from sweep.store.folder import SweepFolder
from sweep.study import Data, Study
from sweep.study.loading import StudySource, load_splits, load_study

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, KEPT_BYTES = -1, -3, 1 << 25  # the first two are defined in glibc's malloc.h


@dataclass(frozen=True, eq=False)
class JobContext:
    """What a process needs to run jobs.

    Attributes:
        study: the study.
        data: its splits.
        reference: the reference's parameters and buffers, by name.
        reference_bytes: of the reference's own packed file.
        folder: the sweep's.
        template: an untrained model, for names and shapes.
        counted: the multiply-accumulates of the template for one example.
        device: where its jobs run.
        format: of its jobs' packed files: that of the reference's, so that the sizes of a sweep can be compared.
    """

    study: Study
    data: Data
    reference: dict[str, Tensor]
    reference_bytes: int
    folder: SweepFolder
    template: nn.Module
    counted: ModelMacs
    device: str = "cpu"
    format: int = 2

    @property
    def reference_macs(self) -> int:
        """Multiply-accumulates of the reference for one example."""
        return self.macs((), ())

    def macs(self, tasks: Sequence[CompressionTask], thetas: Sequence[Compressed]) -> int:
        """Multiply-accumulates for one example of the compressed model, without the groups that were removed."""
        weights = cut_weights(self.template, self.example, tasks=tasks, thetas=thetas, forward=self.study.forward)
        return count_macs(self.counted, weights, tasks=tasks, thetas=thetas)

    @functools.cached_property
    def example(self) -> Nest:
        """The inputs of the first training example. Read once: a dataset may start processes to read it."""
        return first_inputs(self.data.train, 1)

    def measuring(self, schedule: Schedule) -> Measuring:
        """What is measured in a job with this schedule."""
        sizes = {"train": len(self.data.train), "val": len(self.data.val), "macs": self.reference_macs}
        return measuring(schedule, batch_norm=bool(batch_norms(self.template)), **sizes)

    @functools.cached_property
    def reference_points(self) -> Points:
        """What the interval of the reference's metric on the validation split is computed from."""
        model = self.build_model()
        model.load_state_dict(self.reference)
        return evidence(model, self.data.val, study=self.study)[self.study.metric.name].points

    @functools.cached_property
    def layer_errors(self) -> dict[str, float | None]:
        """What `sweep.job.layer_errors` has measured in this process: hash of the changed weights -> error."""
        return {}

    def build_model(self) -> nn.Module:
        """An untrained model on the context's device."""
        return self.study.new_model().to(self.device)

    @property
    def input_shape(self) -> list[int] | None:
        """The shape of one input; None where a model takes several."""
        return list(self.example.shape[1:]) if isinstance(self.example, Tensor) else None

    def on(self, device: str) -> "JobContext":
        """The same context with its data and reference on `device`, where its jobs then run."""
        data = Data(*(split.to(device) for _, split in self.data.items()))
        moved = {id(tensor): tensor.to(device) for tensor in self.reference.values()}  # tied ones stay one tensor
        reference = {name: moved[id(tensor)] for name, tensor in self.reference.items()}
        return replace(self, data=data, reference=reference, template=self.template.to(device), device=device)

    @staticmethod
    def make(study: Study, data: Data, *, folder: SweepFolder) -> "JobContext":
        """The context of a sweep, with the reference that lies in its folder."""
        artifact = read(folder.reference)
        context = JobContext.untrained(study, data, folder=folder)
        size, format = artifact.file_bytes, artifact.format
        return replace(context, reference=artifact.weights(), reference_bytes=size, format=format)

    @staticmethod
    def untrained(study: Study, data: Data, *, folder: SweepFolder) -> "JobContext":
        """A context without a reference: it can tell the sizes of jobs, and cannot run them."""
        template = study.seeded_model()
        example = first_inputs(data.train, 1)
        counted = model_macs(template, lambda model: study.forward(model, example))
        return JobContext(study, data, template.state_dict(), 0, folder, template, counted)


def job_device(gpus: Sequence[object]) -> str:
    """The device of a job that Ray gave these GPUs: "cuda" if there is one that torch can use, else "cpu"."""
    return "cuda" if gpus and torch.cuda.is_available() else "cpu"


def open_context(
    study_reference: StudySource, *, user_folder: str, splits: dict[str, Any], folder: SweepFolder, device: str = "cpu"
) -> JobContext:
    """The context in a fresh process: imports the study, sets one torch thread.

    Args:
        study_reference: as the user named the study, or the study itself.
        user_folder: appended to `sys.path`.
        splits: from `split_arrays`; may be read-only, since nothing writes to them.
        folder: the sweep's.
        device: where its jobs run.
    """
    settle_process()
    study = load_study(study_reference, user_folder=user_folder)
    return JobContext.make(study, _data(splits) or load_splits(study), folder=folder).on(device)


def settle_process() -> None:
    """Sets one torch thread and flushes denormal numbers to zero, so that every process computes the same numbers.

    With glibc, also keeps freed memory for the next batch: fresh pages for every activation and gradient would take a
    tenth of a small network's training.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def split_arrays(data: Data) -> dict[str, Any]:
    """The splits as nests of arrays, (inputs, targets) by name, which other processes can share without a copy.

    Empty where a split is not in memory: every process then loads the data itself.
    """
    splits = dict(data.items())
    if not all(isinstance(split, Split) for split in splits.values()):
        return {}
    return {
        name: map_nest(lambda tensor: tensor.cpu().numpy(), (split.inputs, split.targets))
        for name, split in splits.items()
    }


def _data(arrays: Mapping[str, Any]) -> Data | None:
    """The splits of `split_arrays`; None of nothing."""
    if not arrays:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nothing writes to it
        splits = {name: Split(*map_nest(torch.from_numpy, pair)) for name, pair in arrays.items()}
    return Data(splits["train"], splits["val"], splits["test"])
