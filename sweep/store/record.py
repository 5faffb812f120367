"""What a record holds."""

import json
from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]


RECORD_FACTS = (
    *("id", "status", "study_hash", "family", "configuration", "method", "seed", "schedule", "plan"),
    *("nominal_bytes", "artifact_bytes", "artifact_sha256", "reference_bytes", "macs", "reference_macs", "val"),
    *("direct", "gap", "epochs", "seconds", "device", "versions", "finished", "error"),
)
"""What the files must have besides their format."""


def label(configuration: Mapping[str, Any]) -> str:
    """A configuration as people read it: "keep 0.05, size 4"."""
    return ", ".join(f"{knob} {level}" for knob, level in configuration.items())


def but_for_seed(job: Mapping[str, Any]) -> str:
    """What a job does but for its seed: equal for the seeds of one candidate. `job` is a record, or a job as a dict."""
    return json.dumps([job[name] for name in ("family", "configuration", "method", "schedule")], sort_keys=True)
