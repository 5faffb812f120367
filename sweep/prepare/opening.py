"""Opens a sweep's folder: trains or takes the reference where it is missing, and writes or checks sweep.json."""

import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from lc_core.file.artifact import encode, read
from lc_core.structure.folding import fold
from lc_core.training.loop import Recipe, train_reference
from sweep.criteria import ROUNDING
from sweep.job.context import JobContext, settle_process
from sweep.job.measure import measure
from sweep.prepare.options import Options
from sweep.store.files import StoreError, write_json, write_whole
from sweep.store.folder import SweepFolder
from sweep.store.job import content_hash, versions
from sweep.store.manifest import Manifest, Reference, read_manifest
from sweep.store.record import Score
from sweep.study import Checkpoint, Data, Study
from sweep.study.errors import users_code
from sweep.study.fingerprint import footing, plainly_trained
from sweep.study.loading import lasting_reference

Say = Callable[[str], None]
EXPECTED_WITHIN = 0.01
"""A value this far from the expected one is nothing to mention: one point, or that part of an error."""


def open_folder(
    folder: SweepFolder, study: Study, data: Data, options: Options, parts: dict[str, str], *, say: Say
) -> Manifest:
    """The manifest of the sweep in `folder`; a new sweep is begun there if there is none.

    Raises:
        StoreError: the folder holds a sweep of another study, or other files, or cannot be written.
    """
    manifest = read_manifest(folder.root) if folder.manifest.exists() else None
    if manifest is not None:
        check_study(manifest, study.name, parts, folder)
    elif not folder.reference.exists() and folder.root.exists() and not _unused(folder):
        raise StoreError(
            f"{folder.root}: not a sweep, and not empty; expected a new folder or one that lcsweep made: "
            "name another with --out"
        )
    _make_writable(folder.root)
    if not _reference_fits(folder, content_hash(parts)):
        _write_reference(folder, study, data, parts, say=say)
        manifest = None
    if manifest is None:
        manifest = _new_manifest(folder, study, data, options, parts)
        write_json(folder.manifest, manifest.to_json())
    if isinstance(study.reference, Checkpoint) and study.reference.expected is not None:
        _compare(manifest.reference.val, study.reference.expected, say=say)
    return manifest


def check_study(manifest: Manifest, name: str, parts: dict[str, str], folder: SweepFolder) -> None:
    """StoreError unless the sweep in `folder` is of the study of this name with these parts."""
    if manifest.study != name:
        raise StoreError(
            f"{folder.root}: holds a sweep of study {manifest.study}, not of {name}; name another folder with --out"
        )
    changed = [part for part in parts if manifest.study_parts.get(part) != parts[part]]
    if changed:
        raise StoreError(
            f"{folder.root}: holds a sweep of another state of study {manifest.study}: its "
            f"{' and '.join(changed)} changed since; begin a new sweep with --out, or restore the study"
        )


def _make_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise StoreError(
            f"{root}: expected a folder that can be written ({error.strerror}); name another with --out"
        ) from error


def _unused(folder: SweepFolder) -> bool:
    """Whether the folder is empty, or holds only what a driver left that was killed while it wrote the reference."""
    return folder.root.is_dir() and all(path == folder.reference.parent for path in folder.root.iterdir())


def _reference_fits(folder: SweepFolder, study_hash: str) -> bool:
    if not folder.reference.exists():
        return False
    return bool(read(folder.reference).info["study_hash"] == study_hash)


def _write_reference(folder: SweepFolder, study: Study, data: Data, parts: dict[str, str], *, say: Say) -> None:
    settle_process()
    model, recipe = study.starting_model(), study.reference
    if isinstance(recipe, Checkpoint):
        say(f"the reference of {study.name} is the checkpoint {recipe}, taken as it is: nothing is trained")
        recipe.load_into(model)
    else:
        say(_what_is_done(study.name, recipe))
        with users_code(f"study {study.name}: training the reference failed"):
            train = data.train if plainly_trained(study, parts) else study.augmented(data.train)
            train_reference(model, train, loss=study.loss, recipe=recipe, forward=study.training_forward)
    fold(model)
    info = {"study": study.name, "study_hash": content_hash(parts)}
    write_whole(folder.reference, encode((), (), model.state_dict(), info=info))


def _what_is_done(name: str, recipe: Recipe) -> str:
    """What becomes of the study's model, in a line."""
    if recipe.epochs == 0:
        return f"taking the reference of {name} as it is: no epochs of training"
    return f"training the reference of {name}: {recipe.epochs:g} epochs"


def _compare(found: Score, expected: float, *, say: Say) -> None:
    """Says so where the reference's score is not the one that the user knows."""
    metric = found.metric
    within = EXPECTED_WITHIN * (1.0 if metric.higher_is_better else abs(expected))
    if abs(found.value - expected) > within + ROUNDING * max(1.0, abs(expected)):
        value, low, high, wanted = (
            metric.told(each, gap="") for each in (found.value, found.low, found.high, expected)
        )
        say(
            f"WARNING: the checkpoint measures {value} on validation ({found.n:,} examples, 95 % interval "
            f"{low} to {high}), and {wanted} was expected. Does load_data prepare inputs as "
            "in training (scale, mean and deviation, size, order of channels)? Is the expected score of this split?"
        )


def _new_manifest(folder: SweepFolder, study: Study, data: Data, options: Options, parts: dict[str, str]) -> Manifest:
    context = JobContext.make(study, data, folder=folder)
    model = study.build_model()
    folded = fold(model)
    model.load_state_dict(context.reference)
    return Manifest(
        study=study.name,
        reference_study=lasting_reference(options.study, user_folder=options.user_folder),
        study_hash=content_hash(parts),
        study_parts=parts,
        user_folder=options.user_folder,
        metric=study.metric,
        sweep=uuid.uuid4().hex,
        repeats=options.repeats,
        confirm=options.seeds[1],
        target=study.target,
        splits={name: len(split) for name, split in data.items()},
        reference=Reference(
            bytes=context.reference_bytes,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            macs=context.reference_macs,
            val=measure(model, data.val, study=study),
            folded=folded,
            uncounted=list(context.counted.uncounted),
            **footing(study, parts),
        ),
        versions=versions(),
    )
