"""Networks as people bring them: each is checked, compressed, picked, exported and verified, or refused in one line."""

from pathlib import Path

import pytest

from tests.sweep.tiny import lcsweep, run_here

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")]

RUN = Path("runs/own")
HEAD = '''
from dataclasses import dataclass, field
import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from lc_core import Codebook, Recipe, Schedule
from sweep.study import Data, Family, Split, Study
from sweep.study import *

torch.manual_seed(7)
N = 480
X = torch.randn(N, 12)
Y = (X[:, :6].sum(1) > 0).long() + (X[:, 6:].sum(1) > 1).long()


def split(inputs, targets):
    """Three splits of nests in memory."""
    cut = lambda part: {k: v[part] for k, v in inputs.items()} if isinstance(inputs, dict) else (
        tuple(v[part] for v in inputs) if isinstance(inputs, tuple) else inputs[part])
    parts = torch.arange(N).split([320, 80, 80])
    return Data(*(Split(cut(part), targets[part]) for part in parts))


def load_data():
    return split(X, Y)


loss, more = cross_entropy, {}
'''
FOOT = """
study = Study(
    name="own", build_model=build_model, load_data=load_data, loss=loss,
    reference=Recipe(epochs=6, lr=LR, batch_size=20, optimizer="adam"),
    schedule=Schedule(epochs=1, lr=LR, batch_size=20, optimizer="adam"),
    families=(Family("quantize", {"size": (8, 2)}, lambda c: {"*": Codebook(size=c["size"])}),), **more,
)
"""
MLP = "def build_model():\n    return nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 3))\n"
TRANSFORMER = '''
class Tied(nn.Module):
    """A decoder of one layer, whose head is its embedding."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.mix = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens)
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        x = x + self.attend(x, x, x, attn_mask=mask, need_weights=False)[0]
        return self.head(x + self.mix(x))[:, -1]


def build_model():
    return Tied()


def load_data():
    tokens = torch.randint(0, 20, (N, 6))
    return split(tokens, tokens[:, -1])
'''
RECURRENT = """
class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.read = nn.{kind}(3, 16, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.read(x)[0][:, -1])


def build_model():
    return Reader()


def load_data():
    return split(X.view(N, 4, 3), Y)
"""
MAPPING = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(12, 24), nn.Linear(24, 3)

    def forward(self, values, scale):
        return {returned}


def build_model():
    return Net()


def load_data():
    return split({{"values": X, "scale": torch.ones(N, 1)}}, Y)
"""
OUTPUT = """
@dataclass
class ModelOutput:
    logits: torch.Tensor
    hidden: torch.Tensor


"""
CONVOLUTIONS = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential({layers})
        self.head = nn.Linear({width}, 3)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def build_model():
    return Net()


def load_data():
    return split(X.view(N, *{shape}), Y)
"""


def conv(layers: str, *, width: int, shape: tuple[int, ...]) -> str:
    """A network of these layers and a linear head, on inputs of this shape."""
    return CONVOLUTIONS.format(layers=layers, width=width, shape=shape)


LOADED = (
    MLP
    + """
class Rows(Dataset):
    def __init__(self, start, end):
        self.rows = range(start, end)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return X[self.rows[index]], Y[self.rows[index]]


class Stream(IterableDataset):
    def __init__(self, start, end):
        self.rows = Rows(start, end)

    def __iter__(self):
        return (self.rows[index] for index in range(len(self.rows)))


def load_data():
    return Data(*({made} for start, end in ((0, 320), (320, 400), (400, 480))))
"""
)
ONE_OUTPUT = MLP.replace("nn.Linear(24, 3)", "nn.Linear(24, 1)")
NETWORKS = {
    "plain": MLP,
    "tied transformer": TRANSFORMER,
    "dict batches": MAPPING.format(returned="self.head(torch.relu(self.layer(values * scale)))"),
    "ModelOutput": OUTPUT
    + MAPPING.format(returned="ModelOutput(self.head(h := torch.relu(self.layer(values * scale))), h)")
    + "\nloss = lambda outputs, targets: cross_entropy(outputs.logits, targets)\n",
    "outputs in a dict": MAPPING.format(returned='{"logits": self.head(torch.relu(self.layer(values * scale)))}')
    + '\nloss = lambda outputs, targets: cross_entropy(outputs["logits"], targets)\n',
    "two inputs": MAPPING.format(returned="self.head(torch.relu(self.layer(values * scale)))").replace(
        '{"values": X, "scale": torch.ones(N, 1)}', "(X, torch.ones(N, 1))"
    ),
    "LSTM": RECURRENT.format(kind="LSTM"),
    "GRU": RECURRENT.format(kind="GRU"),
    "weight_norm, old": "from torch.nn.utils import weight_norm\n\n\n"
    + MLP.replace("nn.Linear(12, 24)", "weight_norm(nn.Linear(12, 24))"),
    "weight_norm, new": "from torch.nn.utils.parametrizations import weight_norm\n\n\n"
    + MLP.replace("nn.Linear(12, 24)", "weight_norm(nn.Linear(12, 24))"),
    "one frozen layer": MLP.replace("nn.Linear(12, 24)", "nn.Linear(12, 24).requires_grad_(False)"),
    "frozen backbone": MLP.replace(
        "nn.Linear(12, 24)", "nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 24)).requires_grad_(False)"
    ),
    "half-precision head": """
class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(24, 3).bfloat16()

    def forward(self, x):
        return self.linear(x.bfloat16()).float()


def build_model():
    return nn.Sequential(nn.Linear(12, 24), nn.ReLU(), Head())
""",
    "Dataset": LOADED.replace("{made}", "Rows(start, end)"),
    "DataLoaders": LOADED.replace("{made}", "DataLoader(Rows(start, end), batch_size=16, shuffle=start == 0)"),
    "IterableDataset": LOADED.replace("{made}", "Stream(start, end)"),
    "NumPy arrays": MLP + "\n\ndef load_data():\n    return split(X.numpy(), Y.numpy())\n",
    "uint8 images": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(96, 3)

    def forward(self, images):
        return self.head(torch.relu(self.conv(images.float() / 255)).flatten(1))


def build_model():
    return Net()


def load_data():
    return split(((X.clamp(-2, 2) + 2) * 63).to(torch.uint8).view(N, 1, 3, 4), Y)
""",
    "Conv1d": conv("nn.Conv1d(3, 8, 2), nn.ReLU()", width=24, shape=(3, 4)),
    "Conv3d": conv("nn.Conv3d(1, 8, 2), nn.ReLU()", width=16, shape=(1, 3, 2, 2)),
    "ConvTranspose1d": conv("nn.Conv1d(3, 8, 2), nn.ReLU(), nn.ConvTranspose1d(8, 4, 2)", width=16, shape=(3, 4)),
    "ConvTranspose2d": conv(
        "nn.Conv2d(1, 8, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2)", width=48, shape=(1, 3, 4)
    ),
    "ConvTranspose3d": conv("nn.Conv3d(1, 8, 2), nn.ReLU(), nn.ConvTranspose3d(8, 2, 2)", width=24, shape=(1, 3, 2, 2)),
    "own validation left out": MLP
    + "\n\ndef load_data():\n    return Data(Split(X[:400], Y[:400]), None, Split(X[400:], Y[400:]))\n",
    "regression": ONE_OUTPUT
    + """
from sweep.study.metrics import mse

more = {"metrics": {"mse": mse("mm2")}}


def loss(outputs, targets):
    return ((outputs[:, 0] - targets) ** 2).mean()


def load_data():
    return split(X, X[:, :3].sum(1))
""",
    "one logit": ONE_OUTPUT
    + """
from sweep.study.metrics import auroc

more = {"metrics": {"auroc": auroc()}}


def loss(outputs, targets):
    return nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.float())


def load_data():
    return split(X, (Y > 0).long())
""",
    "multi-label": MLP
    + """
from sweep.study.metrics import f1

more = {"metrics": {"f1": f1()}}


def loss(outputs, targets):
    return nn.functional.binary_cross_entropy_with_logits(outputs, targets.float())


def load_data():
    return split(X, (X[:, :3] > 0).long())
""",
    "segmentation": """
from sweep.study.metrics import mean_iou

more = {"metrics": {"mean IoU": mean_iou()}}


def build_model():
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))


def load_data():
    images = X.view(N, 1, 3, 4)
    return split(images, (images[:, 0] > 0).long())
""",
}
SAYS = {
    "tied transformer": "embed.weight = head.weight",
    "weight_norm, old": "folded",
    "weight_norm, new": "folded",
    "one frozen layer": "frozen",
    "frozen backbone": "frozen",
    "half-precision head": "3 x 24, bfloat16",
    "own validation left out": "validation",
}
"""What `check` says of a network that a user should know."""

TARGETS = {
    "regression": ("--at-most", "1000"),
    "one logit": ("--at-least", "0.1"),
    "multi-label": ("--max-drop", "0.9"),
}
"""In place of a drop."""
OF_A_PLAIN_GRAPH = {
    *("Dataset", "DataLoaders", "IterableDataset", "NumPy arrays", "one frozen layer", "frozen backbone"),
    *("weight_norm, old", "own validation left out", "outputs in a dict", "dict batches"),
    *("regression", "one logit", "multi-label"),
}
"""Networks that tell nothing new about ONNX: making a file takes seconds."""


def write(code: str) -> None:
    Path("own.py").write_text(HEAD + code + FOOT.replace("LR", "0.01"))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_goes_the_whole_way(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweep.execution.runner.run", run_here)
    if name in OF_A_PLAIN_GRAPH:
        request.getfixturevalue("without_onnx")
    write(NETWORKS[name])
    checked = lcsweep("check", "own.py")
    assert checked.code == 0, checked.err
    assert SAYS.get(name, "") in checked.out + checked.err
    ran = lcsweep("run", "own.py", "--workers", "1")
    assert ran.code == 0, ran.out + ran.err
    picked = lcsweep("pick", RUN, *TARGETS.get(name, ("--max-drop", "90%")), "--json")
    assert picked.code == 0, picked.err
    assert picked.json["compression_ratio"] > 1
    assert lcsweep("export", RUN, "--out", "small.lcz").code == 0
    verified = lcsweep("verify", "small.lcz", "--study", "own.py", "--json")
    assert verified.code == 0, verified.err
    assert verified.json["outputs"] == "as claimed"
    assert lcsweep("report", RUN).code == 0


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (NETWORKS["one logit"].replace('more = {"metrics": {"auroc": auroc()}}', ""), "two classes or more"),
        (NETWORKS["regression"].replace('more = {"metrics": {"mse": mse("mm2")}}', ""), "two classes or more"),
        (NETWORKS["multi-label"].replace('more = {"metrics": {"f1": f1()}}', ""), "whole numbers of shape (20,)"),
    ],
    ids=["one logit", "regression", "multi-label"],
)
def test_a_score_without_a_meaning_is_refused_before_any_training(
    code: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default accuracy took the share of class 0 for the accuracy of one logit."""
    monkeypatch.chdir(tmp_path)
    write(code)
    for command in ("check", "run"):
        said = lcsweep(command, "own.py")
        assert said.code == 1
        assert said.err.count("\n") == 1
        assert line in said.err
        assert "give the study a metric of its own" in said.err
    assert not RUN.exists()
