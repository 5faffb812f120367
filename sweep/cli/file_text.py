"""What `export` and `verify` print of a model's file."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sweep.cli.text import outputs_apart, parity, table
from sweep.criteria import best_of
from sweep.pick.size_and_speed import speed, times
from sweep.store.claims import Claim, read_claim
from sweep.store.job import label
from sweep.store.metric import ACCURACY, Metric

if TYPE_CHECKING:
    from sweep.pick.safetensors_export import DenseExport

Facts = Mapping[str, Any]


def packed_file(facts: Facts) -> str:
    """What a packed file is."""
    info = {"study": "?", "family": "?", "job": "?", **facts["info"]}
    size = f"its weights take {facts['dense_bytes']:,} bytes uncompressed"
    if "reference_bytes" in facts:  # without it there is no ratio, since there is only one
        whole = facts["reference_bytes"]
        size = f"{times(facts['bytes'], whole)} than the reference's packed file, {whole:,} bytes"
    rows = [
        ("file", f"{facts['file']}: {facts['bytes']:,} bytes ({facts['payload_bytes']:,} uncoded)"),
        *([("tidied", _tidied(facts))] if "packed_bytes" in facts else []),
        ("size", size),
        *[(kind, _coded(sizes)) for kind, sizes in facts["coded"].items()],
        ("sha256", facts["sha256"]),
        ("holds", f"{facts['parameters']:,} numbers once decoded"),
    ]
    if "configuration" in info:
        rows.append(("made by", _made_by(info)))
    if (claimed := read_claim(info)) is not None:
        rows.append(("validation", _validation(claimed, facts, before=_before(claimed, facts))))
    elif "val" in facts:
        rows.append(("validation", _measured(facts)))
    rows += parity(facts)
    if "test" in facts:
        rows.append(("test", f"{_on_test(facts['test'], info)}, as measured before"))
    if "macs" in facts:
        rows.append(("speed", speed(facts)))
    return table(rows, right=set())


def dense_folder(found: "DenseExport") -> str:
    """What a folder with dense weights is."""
    score = found.val
    rows = [
        ("folder", f"{found.folder}: model.safetensors, README.md"),
        ("weights", f"{found.bytes:,} bytes, {found.parameters:,} numbers; packed they take {found.packed_bytes:,}"),
        ("sha256", found.sha256),
        ("validation", f"{_told(score.metric, score.value)} on {score.n} examples, as its record says{found.chosen}"),
    ]
    return table(rows, right=set())


def onnx_file(facts: Facts) -> str:
    """What an ONNX file is."""
    claims = {"study": "?", "family": "?", "job": "?", "configuration": {}, "weights": "?"} | facts["claims"]
    rows = [("file", f"{facts['file']}: {facts['bytes']:,} bytes"), ("sha256", facts["sha256"])]
    packed_as, said = claims["weights"] == "as packed", _said_of_packed(claims)
    if "payload_bytes" in facts:
        rows.append(
            ("packed file", f"{facts['packed_bytes']:,} bytes ({facts['payload_bytes']:,} uncoded), to compare")
        )
    elif facts.get("packed", "") is None:
        rows.append(("packed file", "not found in this file's folder or in runs/; beside it, outputs are compared too"))
    if not packed_as and (size := facts.get("packed_bytes", said.get("bytes"))):
        rows.append(("size", _int8_size(facts["bytes"], size)))
    rows += [("made by", _made_by(claims)), ("weights", str(claims["weights"]))]
    if facts.get("decoded_at_run"):
        rows.append(("decoding", f"partly in every run instead of at load: {', '.join(facts['decoded_at_run'])}"))
    if "parity" in facts:
        words = outputs_apart(facts["parity"])
        rows.append(("ONNX Runtime", words if packed_as else f"{words}, before int8"))
    if "int8_difference" in facts:
        rows.append(("after int8", outputs_apart(facts["int8_difference"], of="the packed model's")))
    if (claimed := read_claim(claims)) is not None:
        before, claimed_before = _before(claimed, facts), read_claim(said)
        if not before and claimed_before is not None:
            before = f"; packed model {claimed.metric.told(claimed_before.value, gap='')}, as claimed"
        rows.append(("validation", _validation(claimed, facts, before=before)))
    if "test" in facts:
        rows.append(("test", f"{_on_test(facts['test'], claims)}, the same as the packed model's"))
    if "macs" in facts and packed_as:
        rows.append(("speed", speed(facts)))
    return table(rows, right=set())


def _said_of_packed(claims: Facts) -> Facts:
    """What a file in eight bits says of the packed file: its "bytes" and its "val"; nothing where that is damaged."""
    said = claims.get("packed")
    return said if isinstance(said, Mapping) and type(said.get("bytes")) is int and said["bytes"] > 0 else {}


def _tidied(facts: Facts) -> str:
    """How much smaller a tidied file is than its job's."""
    before, after = facts["packed_bytes"], facts["bytes"]
    if after == before:
        return "nothing made it smaller; it is the job's file"
    return f"{(before - after) / before:.1%} smaller than the job's file, {before:,} bytes, with the same outputs"


def _before(claimed: Claim, facts: Facts) -> str:
    """What the packed file measures that a file was made from, where it was measured."""
    packed, metric = facts.get("packed_val"), claimed.metric
    return f"; packed model {metric.told(packed[metric.name], gap='')}" if packed else ""


def _int8_size(size: int, packed: int) -> str:
    """How large a file in eight bits is beside the packed file, with a warning where it is the larger one."""
    words = f"{times(size, packed)} than the packed file"
    return f"WARNING: {words}: its weights take eight bits each, whatever they took before" if size > packed else words


def _made_by(claims: Facts) -> str:
    configuration = claims["configuration"]
    words = label(configuration) if isinstance(configuration, Mapping) else "?"
    return f"{claims['study']}, {claims['family']}: {words} (job {claims['job']})"


def _validation(claimed: Claim, facts: Facts, *, before: str) -> str:
    """What a file claims of validation, whether it was measured again, and whether the file was chosen by it."""
    known = "verified" if "outputs" in facts else "as claimed; --study STUDY verifies it"
    n = "?" if claimed.n is None else claimed.n
    chosen = f"; {best_of(claimed.best_of)}" if claimed.best_of > 1 else ""
    return f"{_told(claimed.metric, claimed.value)} on {n} examples, {known}{before}{chosen}"


def _measured(facts: Facts) -> str:
    found = read_claim(facts)
    assert found is not None
    return f"{_told(found.metric, found.value)} on {found.n} examples, measured now; no record of this file was found"


def _on_test(measured: Facts, info: Facts) -> str:
    claimed = read_claim(info)
    metric = ACCURACY if claimed is None else claimed.metric
    return f"{_told(metric, measured[metric.name])} on {measured['n']} examples"


def _told(metric: Metric, value: float) -> str:
    return f"{metric.label} {metric.told(value, gap='')}"


def _coded(sizes: Facts) -> str:
    """The bytes of codes or supports, and what other entropy coders would make of them, without their tables."""
    return (
        f"{sizes['packed_bytes']:,} bytes packed, {sizes['zstd_bytes']:,} after zstd; for comparison, without tables: "
        f"entropy {sizes['entropy_bytes']:,}, Huffman code {sizes['huffman_bytes']:,}"
    )
