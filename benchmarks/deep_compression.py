"""ResNet20 from its checkpoint: LC beside the recipe of Deep Compression, at the same support size, codes and epochs.

Han, Mao and Dally, arXiv:1510.00149: prune by magnitude and retrain the weights that are left; then let them share
values and retrain these. Each half has half of the epochs of an LC job, with its learning rate and batches. The support
and the codebook are for the whole network, as in the family "prune, quantize" of `studies.cifar10_resnet20:hour`. The
paper's Huffman code is replaced by the coder of our files, on both sides. A row is the validation error in percent, and
has no target; the note has the bytes of the files.
"""

from collections.abc import Sequence
from dataclasses import replace

from lc_core.algorithm import compressed_weights, deploy
from lc_core.compressions.chain import Chain
from lc_core.compressions.pruning import L0Pruning
from lc_core.compressions.quantization import Codebook
from lc_core.file.artifact import encode
from lc_core.methods.lc import LC
from lc_core.methods.method import Method, Training
from lc_core.methods.retrain import Retrain
from lc_core.parameters import load_weights
from lc_core.plan import Joint, Plan, plan_tasks
from rows import Row, options, speak
from studies.cifar10_resnet20 import hour as study
from sweep.job.context import settle_process
from sweep.job.measure import measure
from sweep.study import Checkpoint

SIZE = 16
KEEP = {"keep-0.3": 0.3, "keep-0.2": 0.2, "keep-0.1": 0.1}


def row_of(name: str) -> Row:
    """A row: both sides from the same checkpoint."""
    both = Chain(L0Pruning(KEEP[name]), Codebook(SIZE))
    (ours, bytes_ours), (theirs, bytes_theirs) = (
        compressed([(LC(), {"*": Joint(both)}, 1.0)]),
        compressed([(Retrain(), {"*": Joint(both.first)}, 0.5), (Retrain(), {"*": Joint(both)}, 0.5)]),
    )
    note = f"{bytes_ours:,} and {bytes_theirs:,} bytes"
    return Row(name, ours, theirs, theirs / ours, ours, True, "%", [ours], note)


def compressed(stages: Sequence[tuple[Method, Plan, float]]) -> tuple[float, int]:
    """The validation error in percent and the file's bytes after one stage after the other: a method, its plan, and its
    part of the epochs."""
    data, model = study.load_data(), study.starting_model()
    assert isinstance(study.reference, Checkpoint)
    study.reference.load_into(model)
    for method, plan, part in stages:
        schedule = replace(study.schedule, epochs=part * study.schedule.epochs)
        training = Training(data.train, study.loss, schedule, 0, study.new_model, study.training_forward)
        tasks = plan_tasks(model, plan)
        *_, state = method.states(model, tasks, training)
        load_weights(model, compressed_weights(tasks, state))
    settled = study.new_model()
    deploy(settled, tasks, state, data=data.train, batch_size=schedule.batch_size, forward=study.forward)
    file = encode(tasks, state.thetas, settled.state_dict(), info={})
    return 100 * (1 - measure(settled, data.val, study=study, interval=False).value), len(file)


def main() -> None:
    """Prints the rows."""
    given = options(__doc__.splitlines()[0] if __doc__ else "", names=list(KEEP)).parse_args()
    settle_process()
    speak((row_of(name) for name in given.only), as_json=given.json)


if __name__ == "__main__":
    main()
