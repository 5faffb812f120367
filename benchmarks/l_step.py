"""The speed of the L step of LeNet300 on MNIST, against one large matrix product and against a loop without LC.

gemm-share: floating-point operations of its matrix products in a second, over those of one large product (float32,
1024 x 1024). plain-loop: a batch in the least code that trains the same network on the same batches by the same
optimizer, against a batch in an L step. One thread, float32. LCSWEEP_DATA names the folder of MNIST.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lc_core.training.augmentation import Examples
from lc_core.training.data import ShuffledIndices, ShuffledSplit, Split
from lc_core.training.loop import train
from lc_core.training.optimizers import Penalty
from rows import Row, compared, options, seconds, speak
from studies.mnist_lenet300 import study
from sweep.job.context import settle_process

NAMES = ("gemm-share", "plain-loop")
SHARE, WITHIN = 0.45, 1.05
BATCHES, ROUNDS, SQUARE, PRODUCTS, LR, MU = 40, 25, 1024, 10, 0.02, 0.01


def plain_loop(
    model: nn.Module, inputs: Examples, targets: Tensor, *, batches: ShuffledIndices, lrs: Sequence[float]
) -> None:
    """Trains by Nesterov SGD, without a penalty."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, nesterov=True, fused=True)
    model.train()
    for lr in lrs:
        batch = batches.draw()
        loss = nn.functional.cross_entropy(model(inputs.index_select(0, batch)), targets.index_select(0, batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()


def rows(only: Sequence[str]) -> Iterator[Row]:
    """The rows of `only`."""
    settle_process()
    data = study.load_data().train
    assert study.augment
    inputs, lrs = study.augment(data.inputs), [LR] * BATCHES
    models = [study.seeded_model() for _ in range(2)]
    batches = [ShuffledIndices(inputs.shape[0], batch_size=study.schedule.batch_size, seed=0) for _ in range(2)]
    optimizer = study.schedule.recipe.build_optimizer(models[0])
    governed = [parameter for parameter in models[0].parameters() if parameter.dim() > 1]
    penalty = Penalty(governed, MU, [MU * parameter.detach().clone() for parameter in governed])

    def l_step() -> None:
        train(
            models[0],
            ShuffledSplit(Split(inputs, data.targets), batches[0]),
            loss=study.loss,
            optimizer=optimizer,
            lrs=lrs,
            penalty=penalty,
        )

    def plain() -> None:
        plain_loop(models[1], inputs, data.targets, batches=batches[1], lrs=lrs)

    l_step()
    plain()
    if "gemm-share" in only:
        yield gemm_share(l_step, flops=BATCHES * flops_a_batch(models[1], data.inputs[: study.schedule.batch_size]))
    if "plain-loop" in only:
        yield compared("plain-loop", l_step, plain, target=1 / WITHIN, rounds=ROUNDS, times=1 / BATCHES)


def gemm_share(l_step: Callable[[], None], *, flops: int) -> Row:
    """The row `name`. A batch takes `operations` in matrix products."""
    left, right = torch.randn(SQUARE, SQUARE), torch.randn(SQUARE, SQUARE)
    product = torch.empty(SQUARE, SQUARE)

    def products() -> None:
        for _ in range(PRODUCTS):
            torch.mm(left, right, out=product)

    products()
    pairs = [(flops / seconds(l_step), PRODUCTS * 2 * SQUARE**3 / seconds(products)) for _ in range(ROUNDS)]
    shares = [own / large for own, large in pairs]
    share = statistics.median(shares)
    own, large = (statistics.median(rates) / 1e9 for rates in zip(*pairs, strict=True))
    return Row("gemm-share", own, large, share, SHARE, share >= SHARE, "GF/s", shares)


def flops_a_batch(model: nn.Module, inputs: Tensor) -> int:
    """Floating-point operations of the matrix products of a forward and a backward pass: 2 a multiply-accumulate."""
    with FlopCounterMode(display=False) as counter:
        model(inputs).sum().backward()
    return int(counter.get_total_flops())


if __name__ == "__main__":
    given = options(__doc__, names=NAMES).parse_args()
    speak(rows(given.only), as_json=given.json)
