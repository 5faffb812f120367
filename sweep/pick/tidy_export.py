"""A sweep's model as a smaller packed file of the same function: without what cannot act, its units sorted."""

from pathlib import Path
from typing import Any

from lc_core.file.artifact import decode, fill, read_regular
from sweep.job.context import settle_process
from sweep.job.measure import measure
from sweep.job.tidying import tidied_file
from sweep.pick.origin import recorded
from sweep.pick.size_and_speed import speed_facts
from sweep.pick.verify import EXAMPLES, describe, open_study, verify_claim, verify_record
from sweep.store.claims import claim
from sweep.store.fields import to_json
from sweep.store.files import write_new
from sweep.store.folder import SweepFolder
from sweep.store.record import Done


def export_tidy(
    root: Path, record: Done, *, out: Path, study_reference: str | None, user_folder: str
) -> dict[str, Any]:
    """Writes the tidied file of a job of the sweep in `root` as `out`; returns what it is and what it measures.

    First it verifies the job's own file. The outputs of both files are compared on validation, and the metric is
    measured again.

    Args:
        root: the sweep's folder.
        record: of the job.
        out: the file to write; another file there is not overwritten.
        study_reference: the study, where it has moved.
        user_folder: where the user stands.

    Raises:
        ArtifactError: the job's file is not what its record says, or the new one not what it claims of itself.
        StoreError: `out` holds something else.
        StructureError: the outputs differ.
        StudyError: the study cannot be loaded, or has changed.
        ValueError: the model's graph cannot be followed.
    """
    settle_process()
    folder = SweepFolder(root)
    study, data = open_study(root, study_reference=study_reference, user_folder=user_folder)
    verify_record(record, folder, study, data)
    packed = read_regular(folder.artifact(record.id))
    tidy = tidied_file(packed, study.new_model(), study=study, data=data, examples=EXAMPLES)
    artifact, model = decode(tidy), study.new_model()
    fill(model, artifact)
    claims = artifact.info  # those of old sweeps say themselves what they measure
    found = verify_claim(out, model, claims, study, data) if claims else measure(model, data.val, study=study)
    write_new(out, tidy)
    info = recorded(folder, record) | {"val": claim(found.metric, found.value, n=found.n)}
    facts = describe(out, artifact) | {"info": info, "outputs": "as claimed", "packed_bytes": len(packed)}
    return facts | {"packed_val": to_json(record.val), "val": to_json(found)} | speed_facts(record)
