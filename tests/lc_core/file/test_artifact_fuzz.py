"""Damaged and hostile packed files of format 1: each is refused in one line, or has the content of the undamaged file.

Counts are logged (pytest --log-cli-level=INFO). What zstd's own format leaves open (a reserved bit of the frame's
header, bits of its tables that decide nothing) can be flipped without harm; those flips are counted and bounded.
"""

import copy
import functools
import json
import logging
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import safetensors.torch
import torch
import zstandard
from torch import nn

from lc_core import Chain, Codebook, L0Pruning, LowRank
from lc_core.file.artifact import Artifact, ArtifactError, encode, read
from lc_core.file.content import dumps
from lc_core.file.format_1 import digest
from lc_core.file.limits import LARGEST_HEADER
from tests.golden.test_format import FILES
from tests.lc_core.models import compressed, seeded

MEMORY = 500 << 20
"""Bytes that a hostile file of some kilobytes may take."""
EVERY_FORM = FILES[1]
LOG = logging.getLogger(__name__)
HOSTILE = [
    *(-1, 0, 1, 2, 7, 2**31, 2**63, 10**30, 1.0, 0.5, True, None, "", "dense", "sparse", [], {}, [1], [0], [-1], [[]]),
    *([2**40, 2**40], {"form": "dense", "shape": [2]}, "0:dense", "\u0000", "x" * 300),
]


@functools.cache
def small() -> bytes:
    """A small packed model: pruned, quantized, factored, parameters and buffers as they are."""
    layers = lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 9), nn.Linear(9, 10))  # noqa: E731
    model = seeded(layers, seed=0)
    plan = {"0": Chain(L0Pruning(keep=0.2), Codebook(size=2)), "2": Codebook(size=3), "3": LowRank(rank=1)}
    tasks, thetas = compressed(model, plan)
    return encode(tasks, thetas, model.state_dict(), info={"accuracy": 0.1 + 0.2, "levels": [1, None, 1e-9]}, format=1)


def files() -> dict[str, bytes]:
    """Real small files, by name."""
    mlp = seeded(lambda: nn.Sequential(nn.Linear(20, 16), nn.Linear(16, 4)), seed=1)
    tasks, thetas = compressed(mlp, {"*": L0Pruning(keep=0.3)})
    sparse = encode(tasks, thetas, mlp.state_dict(), info={}, format=1)
    return {"small": small(), "every form": EVERY_FORM.read_bytes(), "sparse": sparse}


class Trial:
    """Reads variants of one file, and counts those that are refused."""

    def __init__(self, folder: Path, whole: bytes) -> None:
        self.path = folder / "fuzzed.lcz"
        self.path.write_bytes(whole)
        self.whole = read(self.path)
        self.refused = 0
        self.same = 0

    def read(self, data: bytes) -> Artifact | None:
        """What `data` holds, decompressed on the way; None where it is refused, in one line that names the file."""
        self.path.write_bytes(data)
        try:
            artifact = read(self.path)
            artifact.weights()
        except ArtifactError as error:
            message = str(error)
        else:
            return artifact
        assert "\n" not in message
        assert message.startswith(str(self.path))
        self.refused += 1
        return None

    def expect_refused_or_same(self, data: bytes) -> None:
        artifact = self.read(data)
        if artifact is not None:
            weights, theirs = self.whole.weights(), artifact.weights()
            assert weights.keys() == theirs.keys()
            assert all(torch.equal(weights[name], theirs[name]) for name in weights)
            assert (artifact.info, artifact.governed) == (self.whole.info, self.whole.governed)
            self.same += 1

    def say(self, what: str) -> None:
        LOG.info(f"{what}: {self.refused + self.same} cases, {self.refused} refused, {self.same} the same content")


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def mutated(data: bytes, draw: random.Random) -> bytes:
    """`data` with a few bytes changed, a piece cut out, doubled, moved or filled."""
    changed = bytearray(data)
    start = draw.randrange(len(data))
    piece = slice(start, start + draw.randint(1, 40))
    match draw.randrange(5):
        case 0:
            for _ in range(draw.randint(1, 8)):
                changed[draw.randrange(len(data))] = draw.randrange(256)
        case 1:
            del changed[piece]
        case 2:
            changed[start:start] = changed[piece]
        case 3:
            moved = changed[piece]
            del changed[piece]
            place = draw.randrange(len(changed) + 1)
            changed[place:place] = moved
        case _:
            changed[piece] = bytes([draw.choice([0, 255])]) * len(changed[piece])
    return bytes(changed)


def frame(payload: bytes) -> bytes:
    """With a checksum that is right, whatever the payload."""
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(payload)


def payload_of(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data)


def opened(data: bytes) -> tuple[dict, dict]:
    """The metadata of a file, but for the SHA-256, and its arrays."""
    payload = payload_of(data)
    header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])
    metadata = json.loads(header["__metadata__"]["lcz"])
    del metadata["sha256"]
    return metadata, safetensors.torch.load(payload)


def sealed(metadata: dict, arrays: dict) -> bytes:
    """A file of them whose SHA-256 is right."""
    text = dumps(metadata | {"sha256": digest(metadata, arrays)})
    return frame(safetensors.torch.save(arrays, metadata={"lcz": text}))


@pytest.mark.parametrize("name", files())
def test_a_file_cut_anywhere_is_refused(name, tmp_path):
    whole = files()[name]
    trial = Trial(tmp_path, whole)
    for length in range(len(whole)):
        assert trial.read(whole[:length]) is None
    trial.say(f"{name}, cut at every length")


def test_a_file_with_any_bit_flipped_is_refused_or_the_same(tmp_path):
    trial = Trial(tmp_path, small())
    for bit in range(8 * len(small())):
        trial.expect_refused_or_same(flipped(small(), bit))
    trial.say("every bit flipped")
    assert trial.same < trial.refused // 50


def test_a_payload_with_a_bit_flipped_is_always_refused(tmp_path):
    """Under zstd's own checksum, nothing is left open: what a file holds determines each of its payload's bits."""
    payload, trial = payload_of(small()), Trial(tmp_path, small())
    for bit in range(0, 8 * len(payload), 31):
        assert trial.read(frame(flipped(payload, bit))) is None, bit
    trial.say("every 31st bit of the payload flipped")


def test_a_file_with_random_damage_is_refused_or_the_same(tmp_path):
    damage(tmp_path, seeds=range(200))


def test_metadata_changed_at_random_under_a_right_hash_are_refused_or_can_be_used(tmp_path):
    change_metadata(tmp_path, seeds=range(150))


def damage(folder, *, seeds):
    for name, whole in files().items():
        payload, trial = payload_of(whole), Trial(folder, whole)
        for seed in seeds:
            draw = random.Random(seed)
            trial.expect_refused_or_same(mutated(whole, draw))
            trial.expect_refused_or_same(frame(mutated(payload, draw)))
        trial.say(f"{name}, random damage to the file and to the payload under a right checksum")


def change_metadata(folder, *, seeds):
    metadata, arrays = opened(EVERY_FORM.read_bytes())
    trial, used = Trial(folder, EVERY_FORM.read_bytes()), 0
    for seed in seeds:
        draw = random.Random(seed)
        changed, others = copy.deepcopy(metadata), dict(arrays)
        for _ in range(draw.randint(1, 2)):
            change(changed, others, draw)
        try:
            data = sealed(changed, others)
        except (TypeError, ValueError):  # it cannot even be written
            continue
        used += trial.read(data) is not None
    LOG.info(f"metadata and arrays changed: {trial.refused + used} cases, {trial.refused} refused, {used} can be used")
    assert trial.refused > 10 * used


def change(metadata: dict, arrays: dict, draw: random.Random) -> None:
    """Changes one value of the metadata, or one array, in place."""
    if draw.random() < 0.3:
        name = draw.choice(sorted(arrays))
        array = arrays[name]
        arrays.update(
            draw.choice([
                {name: array.reshape(-1)[:-1].clone()},
                {name: torch.cat([array.reshape(-1), array.reshape(-1)])},
                {name: array.to(draw.choice([torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool]))},
                {name: array.reshape(1, *array.shape).clone()},
                {name + draw.choice(["x", ".dense", ""]): array.clone().fill_(draw.choice([0, 1, 100]))},
            ])
        )  # fmt: skip
        return
    places = list(walk(metadata["tasks"]))
    holder, key = draw.choice(places)
    others = [place[place_key] for place, place_key in draw.sample(places, 3)]
    holder[key] = copy.deepcopy(draw.choice([*HOSTILE, *others]))


def walk(node):
    """(holder, key) of every value within JSON data."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield node, key
        if isinstance(value, dict | list):
            yield from walk(value)


def payload_with(header: bytes, rest: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + rest


def header_with(**entries) -> bytes:
    metadata = {"format": 1, "tasks": [], "info": {}, "sha256": "0" * 64}
    return json.dumps({"__metadata__": {"lcz": dumps(metadata)}} | entries, separators=(",", ":")).encode()


def array(offsets, *, dtype="F32", shape=(1,)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def lying_frame() -> bytes:
    """Declares a kilobyte, and has blocks of 128 kB each that make 2 GB."""
    block = (128 << 10 << 3 | 0b010).to_bytes(3, "little") + b"\0"
    last = (128 << 10 << 3 | 0b011).to_bytes(3, "little") + b"\0"
    start = bytes([0b11_0_0_0_0_00, 10 << 3]) + (1 << 10).to_bytes(8, "little")
    return zstandard.FRAME_HEADER + start + block * (16 << 10) + last


def metadata_text(text: str) -> bytes:
    return frame(safetensors.torch.save({}, metadata={"lcz": text}))


def hostile() -> dict[str, bytes]:
    """Hand-made files, by what is wrong with them."""
    metadata, arrays = opened(small())
    text = dumps(metadata | {"sha256": digest(metadata, arrays)})
    written = lambda text: frame(safetensors.torch.save(arrays, metadata={"lcz": text}))  # noqa: E731
    reordered = json.dumps(dict(reversed((metadata | {"sha256": "0" * 64}).items())))
    dense = {"names": ["w"], "shapes": [[4]], "theta": {"form": "dense", "shape": [4]}}
    whole = {"format": 1, "tasks": [dense], "info": {}}
    four = torch.zeros(4)
    payload = payload_of(small())
    length = int.from_bytes(payload[:8], "little")
    spaced = payload_with(payload[8 : 8 + length] + b" " * 8, payload[8 + length :])
    return {
        "a frame that makes more than it declares": lying_frame(),
        "nothing but zeros, 60 MB": frame(bytes(60 << 20)),
        "a header of 60 MB": frame(payload_with(b"[" + b"{}," * (20 << 20) + b"{}]")),
        "a header longer than the file": frame((2**63).to_bytes(8, "little") + b"{}"),
        "no header": frame(b"\0" * 7),
        "a negative offset": frame(payload_with(header_with(a=array([-4, 0])))),
        "an offset beyond the end": frame(payload_with(header_with(a=array([0, 4])))),
        "a huge offset": frame(payload_with(header_with(a=array([0, 2**63], shape=[2**61])))),
        "overlapping arrays": frame(payload_with(header_with(a=array([0, 4]), b=array([0, 4])), bytes(4))),
        "a hole between arrays": frame(payload_with(header_with(a=array([0, 4]), b=array([8, 12])), bytes(12))),
        "bytes that no array has": frame(payload_with(header_with(a=array([0, 4])), bytes(8))),
        "a shape of other size": frame(payload_with(header_with(a=array([0, 4], shape=[2])), bytes(4))),
        "a shape that overflows": frame(payload_with(header_with(a=array([0, 4], shape=[2**32, 2**32])), bytes(4))),
        "an unknown type": frame(payload_with(header_with(a=array([0, 4], dtype="U1024")), bytes(4))),
        "a type that no layer has": frame(payload_with(header_with(a=array([0, 4], dtype="C64")), bytes(4))),
        "deep JSON": metadata_text("[" * 100_000 + "]" * 100_000),
        "deep JSON, closed": metadata_text('{"format":1,"tasks":' + "[" * 900 + "]" * 900 + ',"info":{},"sha256":""}'),
        "an integer of a million digits": metadata_text('{"format":' + "9" * 10**6 + "}"),
        "a number that is not finite": written(text.replace('"accuracy":0.30000000000000004', '"accuracy":NaN')),
        "infinity": written(text.replace('"accuracy":0.30000000000000004', '"accuracy":1e999')),
        "a key twice": written(text.replace('"info":{', '"info":{},"info":{')),
        "a key that means nothing": written(text[:-1] + ',"more":1}'),
        "spaces": written(json.dumps(json.loads(text))),
        "another order": written(reordered),
        "half a character": written(text.replace("accuracy", "\\ud800")),
        "spaces behind the header": frame(spaced),
        "an array that no form names": sealed(whole, {"0:dense": four, "0:more": four.clone()}),
        "weights of whole numbers": sealed(whole, {"0:dense": four.long()}),
        "weights of eight bits": sealed(whole, {"0:dense": four.to(torch.float8_e5m2)}),
        "a parameter twice": sealed(whole, {"0:dense": four, "w": four.clone()}),
        "a name that is no text": sealed(whole | {"tasks": [dense | {"names": [7]}]}, {"0:dense": four}),
        "tasks that are none": sealed(whole | {"tasks": {"a": 1}}, {"0:dense": four}),
        "two sizes that cancel": sealed(
            whole | {"tasks": [{"names": ["a", "b"], "shapes": [[-2], [6]], "theta": dense["theta"]}]},
            {"0:dense": four},
        ),
    }


def test_hostile_files_are_refused_in_little_memory(tmp_path):
    """torch's and zstd's own memory is not in this peak: a slow test has all of it."""
    trial = Trial(tmp_path, small())
    tracemalloc.start()
    try:
        for what, data in hostile().items():
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            assert trial.read(data) is None, what
            assert tracemalloc.get_traced_memory()[1] - before < MEMORY, what
    finally:
        tracemalloc.stop()
    trial.say("hostile files made by hand")


def test_a_file_whose_payload_is_zeros_may_not_declare_by_the_payloads_size(tmp_path):
    """1 kB of zeros in zstd is 60 MB of payload: what may be declared goes by the file."""
    theta = {"form": "codebook", "shape": [10**9]}
    metadata = {"format": 1, "tasks": [{"names": ["w"], "shapes": [[10**9]], "theta": theta}], "info": {}}
    arrays = {
        "0:codes": torch.zeros(0, dtype=torch.uint8),
        "0:codebook": torch.zeros(1),
        "zeros": torch.zeros(15 << 20),
    }
    data = sealed(metadata, arrays)
    assert len(data) < 10_000
    path = tmp_path / "zeros.lcz"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=f"declares 1000000000 numbers in {len(data)} bytes"):
        read(path)


@pytest.mark.slow
def test_every_third_bit_of_the_payload(tmp_path):
    payload, trial = payload_of(small()), Trial(tmp_path, small())
    for bit in range(0, 8 * len(payload), 3):
        assert trial.read(frame(flipped(payload, bit))) is None, bit
    trial.say("every third bit of the payload flipped")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["every form", "sparse"])
def test_every_bit_of_other_files(name, tmp_path):
    whole = files()[name]
    trial = Trial(tmp_path, whole)
    for bit in range(8 * len(whole)):
        trial.expect_refused_or_same(flipped(whole, bit))
    trial.say(f"{name}, every bit flipped")
    assert trial.same < trial.refused // 50


@pytest.mark.slow
def test_more_random_damage(tmp_path):
    damage(tmp_path, seeds=range(200, 1200))


@pytest.mark.slow
def test_more_metadata_changed_at_random(tmp_path):
    change_metadata(tmp_path, seeds=range(150, 1150))


PEAK = """
import resource, sys
from lc_core.file.artifact import ArtifactError, read
read(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    try:
        read(path)
    except ArtifactError:
        continue
    sys.exit(f"{path} was read")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_all_hostile_files_in_one_process_take_little_memory(tmp_path):
    """All of it, torch's and zstd's own too."""
    (tmp_path / "whole.lcz").write_bytes(small())
    largest = frame(payload_with(b"[" + b"{}," * (LARGEST_HEADER // 3 - 2) + b"{}]"))
    cases = [largest, *hostile().values()]
    for number, data in enumerate(cases):
        (tmp_path / f"{number}.lcz").write_bytes(data)
    paths = [str(tmp_path / f"{name}.lcz") for name in ("whole", *range(len(cases)))]
    done = subprocess.run([sys.executable, "-c", PEAK, *paths], capture_output=True, text=True, check=True)
    kilobytes = int(done.stdout)
    LOG.info(f"peak of {len(cases)} hostile files: {kilobytes / 1024:.0f} MB over that of a whole one")
    assert kilobytes < MEMORY >> 10
