"""The peers' own code from a study's reference: in the layers of the study's family; compare draws what comes out."""

from pathlib import Path

import pytest
import torch

from lc_core import GroupPruning, plan_tasks
from reports.compare.points import read_points
from sweep.store.manifest import read_manifest
from tests.lc_core.models import mlp
from tests.sweep.tiny import changed, lcsweep, prepared, run_all, write_study

pytestmark = pytest.mark.slow
WIDTH = """
def width(configuration):
    return {"0": GroupPruning(keep=configuration["keep"])}


study = Study("""


@pytest.fixture(autouse=True)
def torch_pruning_is_here() -> None:
    pytest.importorskip("torch_pruning", reason="Torch-Pruning is not installed: pip install 'lcsweep[rivals]'")


def test_the_layers_of_the_plan_lose_channels_and_their_readers_columns() -> None:
    import peers

    model = mlp()
    tasks = plan_tasks(model, {"0": GroupPruning(0.25)})
    before = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    small = peers.pruned(model, tasks, torch.zeros(1, before["0.weight"][1]))
    after = {name: tuple(weight.shape) for name, weight in small.named_parameters()}
    units, inputs = before["0.weight"]
    assert after["0.weight"] == (units // 4, inputs)
    assert after["0.bias"] == (units // 4,)
    assert after["2.weight"] == (before["2.weight"][0], units // 4)
    assert {name: tuple(weight.shape) for name, weight in model.named_parameters()} == before


def test_what_the_peers_give_is_drawn_beside_the_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import peers

    text = changed("import Chain", "import Chain, GroupPruning")
    text = changed("\nstudy = Study(", WIDTH, text=text)
    text = changed(
        "    families=(\n", '    families=(\n        Family("width", {"keep": (0.5, 0.25)}, width),\n', text=text
    )
    study, out = write_study(tmp_path, text=text), tmp_path / "out"
    peers.main(peers.given([str(study), "--seeds", "1", "--out", str(out)]))
    assert "Torch-Pruning" in capsys.readouterr().out
    points = read_points(out / "peers.csv")
    assert [point.name.split()[0] for point in points] == ["Torch-Pruning"] * 2 + ["ONNX"] * 6
    reference = read_manifest(out).reference
    wide, narrow = (point.bytes for point in points[:2])
    assert narrow < wide < reference.bytes
    assert all(point.error < 0.5 for point in points)  # of three classes: more than two thirds for chance
    for method in ("lc", "dc"):
        run_all(prepared(study, out, method=method))
    drawn = lcsweep("compare", out, "--points", out / "peers.csv", "--out", tmp_path / "drawn", "--json")
    assert drawn.code == 0, drawn.err
    assert [point["name"] for point in drawn.json["points"]] == [point.name for point in points]
