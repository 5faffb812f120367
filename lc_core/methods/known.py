"""The methods by their names. `sweep.store.job.Method` lists the same names."""

from lc_core.methods.gradual import Gradual
from lc_core.methods.idc import IteratedDirectCompression
from lc_core.methods.lc import LC, DirectCompression
from lc_core.methods.method import Method
from lc_core.methods.retrain import Retrain

METHODS: dict[str, Method] = {
    "lc": LC(),
    "dc": DirectCompression(),
    "retrain": Retrain(),
    "idc": IteratedDirectCompression(),
    "gradual": Gradual(),
}
