"""Training from scratch: the structure is the reference's, the numbers are not."""

from typing import Any

import pytest
import torch

from lc_core import Codebook, Joint, L0Penalty, L0Pruning, plan_tasks
from lc_core.methods.known import METHODS
from tests.lc_core.methods.runs import states_of, training
from tests.lc_core.models import mlp

DIRECT = METHODS["direct"]


def test_the_support_is_the_references_and_training_begins_at_random_weights() -> None:
    direct, first, *_ = states_of(DIRECT, {"*": Joint(L0Pruning(0.3))})
    assert torch.equal(first.thetas[0].support, direct.thetas[0].support)
    w = torch.cat([training().build_model().state_dict()[name].reshape(-1) for name in ("0.weight", "2.weight")])
    begun, other = (w[L0Pruning(0.3).select(w.abs())], direct.thetas[0].values.values)
    reached = first.thetas[0].values.values
    assert (reached - begun).norm() < 0.5 * (reached - other).norm()


def test_assignments_are_the_references_and_the_codebook_is_that_of_random_weights() -> None:
    direct, first, *_ = states_of(DIRECT, {"*": Codebook(2)})
    structure: Any = first.structure[0]
    assert torch.equal(structure.codes, direct.thetas[0].codes)
    random = Codebook(2).compress(training().build_model().state_dict()["0.weight"], mu=1.0)
    assert (structure.codebook - random.codebook).abs().max() < (
        structure.codebook - direct.thetas[0].codebook
    ).abs().max()


def test_a_size_that_the_weights_decide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^does not apply to L0Penalty, whose size is not known before training$"):
        DIRECT.check(plan_tasks(mlp(), {"*": L0Penalty(0.1)}))
