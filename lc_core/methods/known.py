"""The methods by their names. `sweep.store.job.Method` lists the same names."""

from lc_core.methods.adam_masks import AdamMasks
from lc_core.methods.direct import FromScratch
from lc_core.methods.gradual import Gradual
from lc_core.methods.idc import IteratedDirectCompression
from lc_core.methods.lc import LC, DirectCompression
from lc_core.methods.lc_retrain import LCThenRetrain
from lc_core.methods.method import Method
from lc_core.methods.ptq import PostTraining
from lc_core.methods.qat import QuantizationAware
from lc_core.methods.retrain import Retrain
from lc_core.training.distillation import Distillation

SOFT = Distillation(temperature=4.0, labels=0.5)
"""Hinton, Vinyals and Dean, arXiv:1503.02531: soft targets and labels, half and half."""
LABEL_FREE = Distillation(temperature=1.0, labels=0.0)
"""KL divergence to the reference's outputs, as they are."""

METHODS: dict[str, Method] = {
    "lc": LC(),
    "dc": DirectCompression(),
    "ptq": PostTraining(),
    "retrain": Retrain(),
    "idc": IteratedDirectCompression(),
    "gradual": Gradual(),
    "qat": QuantizationAware(),
    "direct": FromScratch(),
    "distill": Retrain(SOFT),
    "label_free": Retrain(LABEL_FREE),
    "adam_masks": AdamMasks(distillation=SOFT),
    "lc_distill": LC(SOFT),
    "lc_label_free": LC(LABEL_FREE),
    "lc_retrain": LCThenRetrain(),
}
