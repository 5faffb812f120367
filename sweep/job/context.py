"""What a process needs to run jobs: the study, its data and the reference; and how the process is set up."""

import ctypes
import functools
import platform
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from lc_core.compression import Compressed
from lc_core.file.artifact import read
from lc_core.structure.accounting import ModelMacs, count_macs, model_macs
from lc_core.structure.surgery import cut_weights
from lc_core.task import CompressionTask
from sweep.job.measure import scores
from sweep.store.folder import SweepFolder
from sweep.study import Data, Split, Study
from sweep.study.loading import load_study

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
    """

    study: Study
    data: Data
    reference: dict[str, Tensor]
    reference_bytes: int
    folder: SweepFolder
    template: nn.Module
    counted: ModelMacs

    @property
    def reference_macs(self) -> int:
        """Multiply-accumulates of the reference for one example."""
        return self.macs((), ())

    def macs(self, tasks: Sequence[CompressionTask], thetas: Sequence[Compressed]) -> int:
        """Multiply-accumulates for one example of the compressed model, without the groups that were removed."""
        weights = cut_weights(self.template, self.data.train.inputs[:1], tasks=tasks, thetas=thetas)
        return count_macs(self.counted, weights, tasks=tasks, thetas=thetas)

    @functools.cached_property
    def reference_scores(self) -> Tensor:
        """The reference's accuracy on each example of the validation split, float64 (n,)."""
        model = self.build_model()
        model.load_state_dict(self.reference)
        return scores(model, self.data.val, study=self.study)["accuracy"]

    def build_model(self) -> nn.Module:
        """An untrained model on the data's device."""
        return self.study.build_model().to(self.data.train.inputs.device)

    def on(self, device: str) -> "JobContext":
        """The same context with its data and reference on `device`, where its jobs then run."""
        splits = (self.data.train, self.data.val, self.data.test)
        data = Data(*(Split(split.inputs.to(device), split.targets.to(device)) for split in splits))
        moved = {id(tensor): tensor.to(device) for tensor in self.reference.values()}  # tied ones stay one tensor
        reference = {name: moved[id(tensor)] for name, tensor in self.reference.items()}
        return replace(self, data=data, reference=reference, template=self.template.to(device))

    @staticmethod
    def make(study: Study, data: Data, *, folder: SweepFolder) -> "JobContext":
        """The context of a sweep, with the reference that lies in its folder."""
        artifact = read(folder.reference)
        reference, size = artifact.weights(), artifact.file_bytes
        return replace(JobContext.untrained(study, data, folder=folder), reference=reference, reference_bytes=size)

    @staticmethod
    def untrained(study: Study, data: Data, *, folder: SweepFolder) -> "JobContext":
        """A context without a reference: it can tell the sizes of jobs, and cannot run them."""
        template = study.seeded_model()
        counted = model_macs(template, data.train.inputs[:1])
        return JobContext(study, data, template.state_dict(), 0, folder, template, counted)


def job_device(gpus: Sequence[object]) -> str:
    """The device of a job that Ray gave these GPUs: "cuda" if there is one that torch can use, else "cpu"."""
    return "cuda" if gpus and torch.cuda.is_available() else "cpu"


def open_context(
    study_reference: str, *, user_folder: str, splits: dict[str, np.ndarray], folder: SweepFolder, device: str = "cpu"
) -> JobContext:
    """The context in a fresh process: imports the study, sets one torch thread.

    Args:
        study_reference: as the user named the study.
        user_folder: appended to `sys.path`.
        splits: from `split_arrays`; may be read-only, since nothing writes to them.
        folder: the sweep's.
        device: where its jobs run.
    """
    settle_process()
    study = load_study(study_reference, user_folder=user_folder)
    return JobContext.make(study, _data(splits), folder=folder).on(device)


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


def split_arrays(data: Data) -> dict[str, np.ndarray]:
    """The splits as named arrays, which other processes can share without a copy."""
    splits = {"train": data.train, "val": data.val, "test": data.test}
    pairs = {name: {"inputs": split.inputs, "targets": split.targets} for name, split in splits.items()}
    return {f"{name}.{part}": tensor.cpu().numpy() for name, pair in pairs.items() for part, tensor in pair.items()}


def _data(arrays: Mapping[str, np.ndarray]) -> Data:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nothing writes to it
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    train, val, test = (
        Split(tensors[f"{name}.inputs"], tensors[f"{name}.targets"]) for name in ("train", "val", "test")
    )
    return Data(train, val, test)
