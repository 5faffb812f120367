"""Training under autocast: what runs in bfloat16, and what stays in float32."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lc_core.training.autocast import in_bfloat16
from lc_core.training.data import Split, call
from lc_core.training.loop import Recipe, predict, train_reference

INPUTS = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
TARGETS = (INPUTS[:, 0] + INPUTS[:, 1] > 0).long()


class Both(nn.Module):
    """Two outputs in a mapping, and what kind the hidden layer's were."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 2)
        self.kinds: list[torch.dtype] = []

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.layer(inputs)
        self.kinds.append(hidden.dtype)
        return {"logits": hidden, "classes": hidden.argmax(dim=1)}


def test_layers_run_in_bfloat16_and_outputs_come_in_float32() -> None:
    model = Both()
    outputs = in_bfloat16(call)(model, INPUTS)
    assert model.kinds == [torch.bfloat16]
    assert (outputs["logits"].dtype, outputs["classes"].dtype) == (torch.float32, torch.int64)
    torch.testing.assert_close(outputs["logits"], model(INPUTS)["logits"], rtol=0.05, atol=0.05)


def test_weights_stay_in_float32_and_training_works() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    recipe = Recipe(epochs=10, lr=0.1, batch_size=20)
    train_reference(model, Split(INPUTS, TARGETS), loss=cross_entropy, recipe=recipe, forward=in_bfloat16(call))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert float((predict(model, INPUTS).argmax(dim=1) == TARGETS).float().mean()) > 0.95
