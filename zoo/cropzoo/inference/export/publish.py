"""Publication of a checkpoint and its model card on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from cropzoo.config.schema import format_yaml
from cropzoo.inference.export.export import export_model
from cropzoo.inference.export.formats import ExportFormat
from cropzoo.io import Log
from cropzoo.models.checkpoint import Metadata
from cropzoo.models.hub import CHECKPOINT, upload_to_hub
from cropzoo.plugins.registry import Zoo

_LICENSES = (
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0",
    "odbl", "etalab-2.0",
)  # fmt: skip
"""Identifiers of the Hub; those that SPDX has are the same in lower case."""


def publish_model(checkpoint: Path, repository: str, metadata: Metadata, zoo: Zoo, log: Log) -> str:
    """Upload a checkpoint as model.safetensors and its model card as README.md to a repository of the Hub.

    Args:
        checkpoint: path of the checkpoint file.
        repository: ORG/NAME; it is created if it does not exist.
        metadata: metadata to write: those of the checkpoint, or a version without local paths.
        zoo: plugins to look up the backbone.
        log: called with progress messages.

    Returns:
        The hash of the commit.

    Raises:
        UsageError: the checkpoint has no head.
        CropzooError: there is no access token, or the upload fails.
    """
    with TemporaryDirectory() as folder:
        out, card = Path(folder) / CHECKPOINT, Path(folder) / "README.md"
        result = export_model(checkpoint, out, ExportFormat.SAFETENSORS, metadata, zoo, log)
        card.write_text(hub_header(metadata) + result.card.read_text(encoding="utf-8"), encoding="utf-8")
        log(f"uploading {out.stat().st_size:,} bytes to {repository}")
        message = f"Upload {metadata.backbone.name} trained with cropzoo"
        return upload_to_hub(repository, {out.name: out, card.name: card}, message)


def hub_header(metadata: Metadata) -> str:
    """The YAML header by which the Hub indexes a model card."""
    fields: dict[str, object] = {"library_name": "cropzoo", "pipeline_tag": "image-segmentation"}
    if metadata.license:
        name = metadata.license.lower()
        known = {"license": name}
        fields |= known if name in _LICENSES else {"license": "other", "license_name": metadata.license}
    tags = ["crop-mapping", "remote-sensing", "satellite-image-time-series", metadata.backbone.name]
    return f"---\n{format_yaml({**fields, 'tags': tags})}---\n\n"
