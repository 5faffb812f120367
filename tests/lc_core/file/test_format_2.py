"""Format 2: every form comes back, the file is smaller, and damaged or hostile ones are refused in one line."""

import random
import tracemalloc
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lc_core import SMALL, Chain, Codebook, Joint, L0Pruning, LowRank, NMPruning, Sum, Ternary, UniformQuantization
from lc_core.coding import loop
from lc_core.compression import FormError
from lc_core.file import format_2
from lc_core.file.artifact import ArtifactError, encode, nominal_bytes, read
from lc_core.file.content import dumps
from lc_core.file.frames import deflated, inflated
from tests.golden.test_format import FILES
from tests.lc_core.models import compressed, seeded

MEMORY = 500 << 20
PLANS = {
    "prune": {"*": L0Pruning(keep=0.1)},
    "prune jointly": {"*": Joint(L0Pruning(keep=0.05))},
    "prune, quantize": {"*": Chain(L0Pruning(keep=0.2), Codebook(size=3))},
    "prune, quantize jointly": {"*": Joint(Chain(L0Pruning(keep=0.1), Codebook(size=8)))},
    "quantize": {"*": Codebook(size=5)},
    "ternary": {"*": Ternary()},
    "uniform": {"*": UniformQuantization(bits=4)},
    "uniform channels": {"*": UniformQuantization(bits=3, symmetric=True, granularity="channel")},
    "n of m": {"*": NMPruning(n=2, m=4)},
    "n of m, quantized": {"*": Chain(NMPruning(n=1, m=5), Codebook(size=4))},
    "corrected": {"*": Joint(Sum(Codebook(size=2), L0Pruning(keep=0.02)))},
    "quantized factors": {"*": Chain(LowRank(rank=3), UniformQuantization(bits=5))},
}


def net():
    """Of 5,000 weights: enough for every form to be worth coding."""
    return seeded(lambda: nn.Sequential(nn.Linear(60, 50), nn.Tanh(), nn.Linear(50, 40), nn.Linear(40, 3)), seed=0)


def both(model, plan):
    tasks, thetas = compressed(model, plan)
    return [encode(tasks, thetas, model.state_dict(), info={}, format=format) for format in (1, 2)]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_form_comes_back_in_fewer_bytes(plan, tmp_path):
    model = net()
    artifacts = []
    for number, data in enumerate(both(model, plan)):
        path = tmp_path / f"{number}.lcz"
        path.write_bytes(data)
        artifacts.append(read(path))
    first, second = artifacts
    assert second.file_bytes < first.file_bytes - 100
    assert (second.payload_bytes, second.governed) == (first.payload_bytes, first.governed)
    assert [theta.form() for theta in second.thetas] == [theta.form() for theta in first.thetas]
    weights = first.weights()
    assert all(torch.equal(weights[name], each) for name, each in second.weights().items())


@cache
def small() -> bytes:
    layers = lambda: nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Linear(8, 9), nn.Linear(9, 10))  # noqa: E731
    model = seeded(layers, seed=0)
    plan = {"0": Chain(L0Pruning(keep=0.2), Codebook(size=2)), "2": Codebook(size=3), "3": LowRank(rank=1)}
    tasks, thetas = compressed(model, plan)
    return encode(tasks, thetas, model.state_dict(), info={"levels": [1, None, 1e-9]})


@settings(max_examples=20)
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    plan=st.sampled_from([
        *(L0Pruning(keep=0.3), Codebook(size=3), Codebook(size=1), UniformQuantization(bits=2), LowRank(rank=1)),
        *(Chain(L0Pruning(keep=0.5), Codebook(size=2)), NMPruning(n=1, m=2), Joint(L0Pruning(keep=0.0))),
    ]),
    seed=st.integers(0, 3),
    nothing=st.booleans(),
)  # fmt: skip
def test_no_file_is_larger_than_what_was_stated_before(tmp_path_factory, rows, columns, plan, seed, nothing):
    """However small the layers, and whether their weights have structure or none."""
    model = seeded(lambda: nn.Sequential(nn.Linear(columns, rows), nn.Linear(rows, 2, bias=False)), seed=seed)
    if nothing:
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
    tasks, thetas = compressed(model, {"*": plan})
    data = encode(tasks, thetas, model.state_dict(), info={})
    assert len(data) < nominal_bytes(tasks, model.state_dict(), info={})
    path = tmp_path_factory.getbasetemp() / "bound.lcz"
    path.write_bytes(data)
    weights = read(path).weights()
    for task, theta in zip(tasks, thetas, strict=True):
        assert all(torch.equal(weights[name], w) for name, w in task.governed.scatter(theta.decompress()).items())


def test_lenet300_at_a_hundredth_needs_a_header_of_less_than_a_hundred_bytes():
    model = seeded(lambda: nn.Sequential(*(nn.Linear(*sizes) for sizes in ((784, 300), (300, 100), (100, 10)))), seed=0)
    tasks, thetas = compressed(model, {"*": Joint(Chain(L0Pruning(keep=0.01), Codebook(size=8)))})
    data = encode(tasks, thetas, model.state_dict(), info={})
    assert format_2.sizes(data).header < 100


def test_lenet300_with_its_biases_in_five_bits_needs_one_too():
    model = seeded(lambda: nn.Sequential(*(nn.Linear(*sizes) for sizes in ((784, 300), (300, 100), (100, 10)))), seed=0)
    plan = {"*": Joint(Chain(L0Pruning(keep=0.01), Codebook(size=8))), SMALL: Joint(UniformQuantization(bits=5))}
    tasks, thetas = compressed(model, plan)
    assert format_2.sizes(encode(tasks, thetas, model.state_dict(), info={})).header < 85


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"\7" + data[1:]])
def test_text_under_deflate_that_is_not_whole_is_refused(spoil):
    text = b'{"tasks":[]}' * 9
    data = deflated(text)
    assert inflated(data, size=len(text)) == text
    for size in (len(text) - 1, len(text) + 1, 0):
        with pytest.raises(FormError, match="under deflate"):
            inflated(data, size=size)
    with pytest.raises(FormError, match="under deflate"):
        inflated(spoil(data), size=len(text))


def test_text_takes_no_memory_for_more_than_was_declared():
    with pytest.raises(FormError, match="expected 10 bytes"):
        inflated(deflated(bytes(1 << 24)), size=10)


def test_the_loops_in_c_and_in_python_write_the_same_file(monkeypatch):
    if not loop.built():
        pytest.skip("not built, of which test_coder.py complains")
    whole = small()
    monkeypatch.setattr(loop, "LIBRARY", None)
    small.cache_clear()
    assert small() == whole


def test_small_parameters_in_five_bits_take_fewer_bytes(tmp_path):
    plan = {"*": Joint(L0Pruning(keep=0.05)), SMALL: Joint(UniformQuantization(bits=5))}
    tasks, thetas = compressed(net(), plan)
    data, dense = (encode(tasks[:n], thetas[:n], net().state_dict(), info={}) for n in (2, 1))
    assert len(data) < len(dense) - 200  # of 93 biases
    path = tmp_path / "small.lcz"
    path.write_bytes(data)
    for name, values in tasks[1].governed.scatter(thetas[1].decompress()).items():
        assert torch.equal(read(path).weights()[name], values)


def refused(tmp_path, data, because=None):
    path = tmp_path / "fuzzed.lcz"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=because) as caught:
        read(path).weights()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_cut_is_refused(tmp_path):
    for length in range(0, len(small()), 3):
        refused(tmp_path, small()[:length])


def test_a_file_with_a_bit_flipped_is_refused(tmp_path):
    for bit in range(0, 8 * len(small()), 7):
        changed = bytearray(small())
        changed[bit // 8] ^= 1 << bit % 8
        refused(tmp_path, bytes(changed))


def test_bytes_after_the_end_are_refused(tmp_path):
    refused(tmp_path, small() + b"\0", because="do not match their SHA-256")
    refused(
        tmp_path, format_2.sealed(small()[format_2.SEALED - 4 :] + b"\1\2\3\4"), because="that nothing is read from"
    )


@pytest.mark.parametrize("name", ["small", "every form"])
def test_damage_under_a_right_hash_is_refused_or_gives_weights(tmp_path, name):
    """Whatever the header, the arrays and the streams hold: one line, or a model of the stated shapes."""
    damage(tmp_path, {"small": small(), "every form": FILES[2].read_bytes()}[name], seeds=range(150))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "every form"])
def test_more_damage_under_a_right_hash(tmp_path, name):
    damage(tmp_path, {"small": small(), "every form": FILES[2].read_bytes()}[name], seeds=range(150, 2000))


def damage(tmp_path, whole, *, seeds):
    path = tmp_path / "damaged.lcz"
    path.write_bytes(whole)
    found = []
    for seed in seeds:
        draw = random.Random(seed)
        changed = bytearray(whole[format_2.SEALED - 4 :])
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(changed))] = draw.choice([draw.randrange(256), 0, 255])
        path.write_bytes(format_2.sealed(bytes(changed)))
        try:
            read(path).weights()
        except ArtifactError as error:
            found.append(str(error))
    assert len(found) > 0.98 * len(seeds)
    assert not any("\n" in message for message in found)


def of_header(text: str, *, arrays=b"", streams=(), check=bytes(4)) -> bytes:
    """A file whose header is `text`, with a right hash."""
    return format_2.sealed(check + format_2.body(text.encode(), arrays, list(streams)))


def header(theta, *, table=None, shapes=None, **more) -> str:
    task = {"names": ["w"], "shapes": [theta["shape"]] if shapes is None else shapes, "theta": theta}
    return dumps({"tasks": [task], "arrays": table or {}, "info": {}} | more)


BOOK = {"0:codebook": ["F32", [2]]}
DENSE = {"form": "dense", "shape": [4]}
ONE = {"0:dense": ["F32", [4]]}
HOSTILE = {
    "codes out of nothing": (header({"form": "codebook", "shape": [10**9]}, table=BOOK), bytes(8), "1000000000"),
    "a support out of nothing": (
        header({"form": "sparse", "shape": [10**12], "count": 0, "values": DENSE | {"shape": [0]}}),
        b"",
        "declares 1000000000000 numbers",
    ),
    "more weights than there are": (
        header({"form": "sparse", "shape": [9], "count": 10, "values": DENSE | {"shape": [10]}}),
        b"",
        "at most 9 weights, got 10",
    ),
    "groups from afar": (
        header({
            "form": "groups",
            "shape": [4],
            "count": 0,
            "parts": [{"shape": [4], "axis": 0, "first": 2**60, "values": DENSE | {"shape": [0]}}],
        }),
        b"",
        "more symbols than a file of its size",
    ),
    "an axis that is none": (
        header({
            "form": "groups",
            "shape": [4],
            "count": 0,
            "parts": [{"shape": [4], "axis": 3, "first": 0, "values": DENSE | {"shape": [0]}}],
        }),
        b"",
        "along an axis of their parts",
    ),
    "values of another number": (
        header(
            {"form": "sparse", "shape": [9], "count": 3, "values": {"form": "uniform", "bits": 2, "symmetric": True}
             | {"shape": [5]}},
            table={"0:bitmap": ["U8", [2]]},
        ),
        b"\x07\x00",
        "expected symbols of 5 weights, got 3",
    ),
    "arrays without bytes": (header(DENSE, table=ONE), bytes(12), "expected 16 bytes of arrays, got 12"),
    "a huge array": (header(DENSE, table={"0:dense": ["F32", [10**15]]}), b"", "declares 4000000000000000 bytes"),
    "an array of no type": (header(DENSE, table={"0:dense": ["F31", [4]]}), b"", "type and the shape of an array"),
    "an array of no shape": (header(DENSE, table={"0:dense": ["F32", [-1]]}), b"", "type and the shape of an array"),
    "a table of nothing": (header(DENSE, table=[1]), b"", "a table of arrays"),
    "no JSON": ("{", b"", "expected JSON"),
    "a list": ("[]", b"", "expected a JSON object"),
    "no table": (dumps({"tasks": [], "info": {}}), b"", "arrays"),
    "spaces": ('{"tasks": [],"arrays":{},"info":{}}', b"", "not written as this format's"),
    "deep JSON": ("[" * 100_000, b"", "recursion"),
    "two layers for one": (header(DENSE, table=ONE, shapes=[[4], [4]]), bytes(16), "a shape for each"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_in_little_memory(tmp_path, what):
    text, arrays, because = HOSTILE[what]
    tracemalloc.start()
    try:
        refused(tmp_path, of_header(text, arrays=arrays), because=because)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def test_a_support_of_another_count_is_refused(tmp_path):
    theta = {"form": "sparse", "shape": [90], "count": 30, "values": DENSE | {"shape": [30]}}
    text = header(theta, table={"0:values.dense": ["F32", [30]]})
    data = of_header(text, arrays=bytes(120), streams=[b"\x01"])
    refused(tmp_path, data, because="expected 30 weights on a support, got")


def test_changed_weights_under_a_right_hash_are_refused(tmp_path):
    """The CRC-32 is of the arrays as decoded: a decoder that errs is found out."""
    text = header(DENSE, table={"0:dense": ["F32", [4]]})
    refused(tmp_path, of_header(text, arrays=bytes(16)), because="do not match their CRC-32")


def test_an_array_that_no_form_names_is_refused(tmp_path):
    text = header(DENSE, table=ONE | {"0:more": ["F32", [1]]})
    check = format_2.check({"0:dense": torch.zeros(4), "0:more": torch.zeros(1)})
    refused(tmp_path, of_header(text, arrays=bytes(20), check=check), because="expected 128 bits of arrays")


def test_a_later_format_is_refused_by_its_number(tmp_path):
    refused(tmp_path, b"LCZ\x03" + small()[4:], because="format 3; a later lcsweep may read it")


def test_a_frame_that_declares_its_size_takes_no_memory_for_it(tmp_path):
    """zstd would take it before it looks at the data."""
    frame = bytes([0b11_1_0_0_0_00]) + (1 << 50).to_bytes(8, "little") + bytes(20)
    numbers = bytes([1, len(frame), 0, 0, 0])
    refused(tmp_path, format_2.sealed(bytes(4) + numbers + frame), because="declares 1125899906842624")


def test_numbers_of_a_header_have_an_end(tmp_path):
    refused(tmp_path, format_2.sealed(bytes(4) + b"\xff" * 40), because="below 2\\^63")
