"""A comparison as plain values, for JSON."""

from dataclasses import asdict
from typing import Any

from reports.compare.comparison import Comparison, Side
from reports.compare.methods import method_facts
from sweep.pick.choice import Candidate


def summary(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values for JSON: bytes and fractions, not rounded, and the models on each front."""
    size, error = comparison.corner
    sides, units = comparison.sides, comparison.units
    metric = units.metric
    facts_of_methods = method_facts(comparison)
    measured = zip(sides, comparison.hypervolumes, comparison.joint, strict=True)
    return {
        "metric": {"name": metric.name, "unit": metric.unit, "higher_is_better": metric.higher_is_better},
        "n": sides[0].reference.val.n,
        "hypervolume": {
            "bytes": size,
            "error": error,
            "unit": f"decades of bytes x {units.step} of {units.noun}",
        },
        "sides": [
            {
                "name": side.name,
                "study": side.study,
                "reference": {"bytes": side.reference.bytes, "error": side.reference.val.error},
                "jobs_done": len(side.done),
                "candidates": len(side.found),
                "seeds": list(side.seeds),
                "front": [_model(candidate, side) for candidate in side.front],
                "on_joint_front": joint,
                "hypervolume": volume,
            }
            for side, volume, joint in measured
        ],
        "levels": [
            {
                "name": level.name,
                "error": level.error,
                "smallest": [
                    None if found is None else _model(found, side) | {"bytes_to_first": level.to_first(found)}
                    for side, found in zip(sides, level.reached, strict=True)
                ],
            }
            for level in comparison.levels
        ],
        "methods": [
            {"name": name} | asdict(facts) for name, facts in zip(comparison.short_names, facts_of_methods, strict=True)
        ]
        if facts_of_methods
        else [],
        "points": [asdict(point) for point in comparison.points],
        "notes": list(comparison.notes),
    }


def _model(candidate: Candidate, side: Side) -> dict[str, Any]:
    return {
        "id": candidate.best_id,
        "family": candidate.family,
        "configuration": dict(candidate.configuration),
        "method": candidate.method,
        "artifact_bytes": candidate.artifact_bytes,
        "compression_ratio": side.reference.bytes / candidate.artifact_bytes,
        "mean_error": candidate.mean_error,
        "errors": list(candidate.errors),
        "seeds": list(candidate.seeds),
    }
