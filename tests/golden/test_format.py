"""Kept packed files: format_1.lcz and format_2.lcz must always be readable and give the numbers in format_1.json.

They have every stored form once. A new format gets a file of its own; these never change.
"""

import json
from pathlib import Path

import pytest
import torch
import zstandard
from torch import Tensor

from lc_core.compression import Compressed, Dense
from lc_core.compressions.cast import Rounded
from lc_core.compressions.circulant import Circulated
from lc_core.compressions.cp import Kruskal
from lc_core.compressions.lowrank import Factored
from lc_core.compressions.nm import Pattern
from lc_core.compressions.pruning import L0Pruning, Sparse
from lc_core.compressions.quantization import Quantized
from lc_core.compressions.structured import Grouped, Part
from lc_core.compressions.sums import Summed
from lc_core.compressions.tucker import Tucker
from lc_core.compressions.uniform import Uniform
from lc_core.file.artifact import FORMATS, encode, read
from lc_core.task import CompressionTask, Governed

FILES = {format: Path(__file__).with_name(f"format_{format}.lcz") for format in FORMATS}
STATED = Path(__file__).with_name("format_1.json")
STREAM = 60
"""The least number of bytes in the coder's stream of the kept file of format 2."""
INFO = {"study": "kept", "note": 'é "x" ☃ \x01', "levels": [1, None, True, 0.25]}


def numbers(*shape: int, first: int = 0) -> Tensor:
    """Multiples of a quarter from -2 to 2, whose sums and products float32 holds exactly."""
    count = torch.Size(shape).numel()
    return (((7 * torch.arange(first, first + count) ** 2 + 3) % 17 - 8) / 4).reshape(shape)


def every_form() -> dict[str, Compressed]:
    """Parameter name -> Theta. Together they have every stored form, each in fewer bits than its weights."""
    codes = torch.arange(40) % 3
    pairs = (torch.arange(20)[:, None] * 4 + torch.tensor([1, 3])).reshape(-1)
    byte = torch.uint8
    corrections = Sparse((20, 20), pairs[:3], Dense(numbers(3)))
    return {
        "dense": Dense(numbers(2, 3)),
        "gaps": Sparse((20, 20), torch.arange(4, 400, 45), Dense(numbers(9))),
        "bitmap": Sparse((8, 8), torch.arange(0, 64, 2), Quantized((32,), torch.arange(32) % 2, numbers(2, first=3))),
        "pattern": Sparse((10, 8), pairs, Dense(numbers(40)), Pattern(2, 4)),
        "codebook": Quantized((8, 5), codes, torch.tensor([-1.0, 0.5, 2.0])),
        "symmetric": Uniform((8, 5), (codes * 3).to(byte), torch.tensor([0.25]), None, 3),
        "zeros": Uniform((8, 5), codes.to(byte), numbers(8).abs() + 1, (torch.arange(8) % 3).to(byte), 2),
        "cast": Rounded(numbers(4, 4).half(), torch.float32),
        "sum": Summed((Quantized((20, 20), torch.arange(400) % 2, numbers(2)), corrections)),
        "channel": Factored((9, 2, 3, 3), Dense(numbers(9, 2)), Dense(numbers(2, 18))),
        "spatial": Factored((6, 4, 3, 3), Dense(numbers(18, 1)), Dense(numbers(1, 12)), "spatial"),
        "tucker": Tucker((6, 5, 3), Dense(numbers(2, 2, 3)), Dense(numbers(6, 2)), Dense(numbers(5, 2))),
        "cp": Kruskal((6, 5, 3), tuple(Dense(numbers(size, 2)) for size in (6, 5, 3))),
        "circulant": Circulated((7, 6), 4, Dense(numbers(2, 2, 4))),
    }  # fmt: skip


def written(format: int) -> bytes:
    """The kept file of a format: `every_form`, groups over two parameters, and uncompressed parameters."""
    tasks, thetas = [], []
    for name, theta in every_form().items():
        tasks.append(CompressionTask(Governed((name,), (theta.shape,)), L0Pruning(keep=0.5)))
        thetas.append(theta)
    parts = (Part((5, 4), 0, 0), Part((5,), 0, 0))
    kept = torch.tensor([1, 4])
    values = (Quantized((2, 4), torch.arange(8) % 2, numbers(2)), Dense(numbers(2)))
    tasks.append(CompressionTask(Governed(("group", "group_bias"), ((5, 4), (5,))), L0Pruning(keep=0.5)))
    thetas.append(Grouped((25,), parts, kept, values))
    weights = {
        "bias": numbers(3),
        "steps": torch.tensor(12),
        "mask": torch.tensor([True, False]),
        "narrow": numbers(2).bfloat16(),
        "none": torch.zeros(0, 3),
    }
    return encode(tasks, thetas, weights, info=INFO, format=format)


@pytest.mark.parametrize("format", FORMATS)
def test_the_kept_file_gives_the_stated_numbers(format):
    artifact, stated = read(FILES[format]), json.loads(STATED.read_text())
    assert artifact.info == INFO
    weights = artifact.weights()
    assert weights.keys() == stated.keys()
    for name, each in stated.items():
        assert str(weights[name].dtype) == each["dtype"], name
        assert list(weights[name].shape) == each["shape"], name
        assert weights[name].reshape(-1).tolist() == each["numbers"], name


@pytest.mark.parametrize("format", FORMATS)
def test_the_kept_file_has_every_form(format):
    forms = [theta.form()["form"] for theta in read(FILES[format]).thetas]
    wanted = "dense sparse codebook uniform cast groups sum factors tucker cp circulant"
    assert set(forms) == set(wanted.split())
    assert len(forms) == len(every_form()) + 1


def test_what_is_written_today_has_the_kept_files_payload():
    """Only the payload is compared: the zstd frame may change with zstd's version."""
    decompressor = zstandard.ZstdDecompressor()
    assert decompressor.decompress(written(1)) == decompressor.decompress(FILES[1].read_bytes())


def test_what_is_written_today_has_the_kept_files_streams():
    """Those of the coder, at the end of the file. The bytes before them are zstd's, and may change with its version."""
    kept, now = FILES[2].read_bytes(), written(2)
    assert now[-STREAM:] == kept[-STREAM:]
    assert len(now) < FILES[1].stat().st_size


@pytest.mark.parametrize("name, theta", every_form().items())
def test_the_stated_numbers_are_those_that_were_meant(name, theta):
    stated = json.loads(STATED.read_text())[name]
    assert theta.decompress().reshape(-1).tolist() == stated["numbers"]


if __name__ == "__main__":
    for number, path in FILES.items():
        if not path.exists():
            path.write_bytes(written(number))
