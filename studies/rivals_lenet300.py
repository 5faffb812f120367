"""LC beside the methods of the literature, on MNIST and LeNet300, ten epochs a job.

    python benchmarks/rivals.py studies.rivals_lenet300:quick
    python benchmarks/rivals.py studies.rivals_lenet300
    python benchmarks/rivals.py studies.rivals_lenet300:grids --methods lc dc ptq qat

Every method has the same reference, batches, epochs and optimizer: the reference's rate, and images as they are. Other
than in `mnist_lenet300`, nothing was chosen for LC. Files are tidied, so that removed units take no room. A job takes
about a quarter of a minute of one core; all methods on three seeds, 423 jobs, about two hours. The quick form trains on
10,000 images.
"""

from dataclasses import replace

from torch import nn

from lc_core import Schedule
from studies.mnist_lenet300 import RECIPE, build_model, load_data, load_some_data, low_rank
from studies.plans import prune, quantize
from studies.rivals_digits import GRIDS, uniform, width
from sweep.study import Family, Study

study = Study(
    name="rivals_lenet300",
    build_model=build_model,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=RECIPE,
    schedule=Schedule(epochs=10, lr=0.1, batch_size=256),
    tidy=True,
    families=(
        Family("prune", {"keep": (0.05, 0.02, 0.01)}, prune),
        Family("quantize", {"size": (4, 3, 2)}, quantize),
        Family("uniform", {"bits": (3, 2, 1)}, uniform),
        Family("width", {"keep": (0.5, 0.25, 0.125)}, width),
        Family("low rank", {"rank": (20, 10, 5)}, low_rank),
    ),
)

grids = replace(study, name="rivals_lenet300_grids", families=GRIDS)

quick = replace(
    study,
    name="rivals_lenet300_quick",
    load_data=load_some_data,
    reference=replace(RECIPE, epochs=20),
    schedule=replace(study.schedule, epochs=5),
    families=(
        Family("prune", {"keep": (0.05, 0.02)}, prune),
        Family("quantize", {"size": (4, 2)}, quantize),
        Family("uniform", {"bits": (2, 1)}, uniform),
        Family("low rank", {"rank": (20, 5)}, low_rank),
    ),
)
