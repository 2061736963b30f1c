"""What is exported: everything from stored numbers and calendar days to logits and probabilities."""

from __future__ import annotations

from torch import Tensor, nn

from cropzoo.checkpoint import Metadata
from cropzoo.contracts import Batch, Model
from cropzoo.data.normalising import Normaliser
from cropzoo.errors import UsageError
from cropzoo.exporting.days import encode_days

INPUTS = {
    "series": "(batch, dates, bands, height, width), float32: numbers as stored, which `scale` turns into reflectance; "
    "what stands at invalid dates has no influence",
    "dates": "(batch, dates), int64: days since 1970-01-01, increasing; 0 at padding. A date that is not used, with "
    "valid False, may keep its day: the first day of the series is counted from",
    "valid": "(batch, dates), bool: False for padding and dates that are not to be used; at least one True a series",
}

OUTPUTS = {
    "logits": "(batch, classes, height, width), float32: class scores divided by the temperature",
    "probabilities": "(batch, classes, height, width), float32: their softmax",
}


class Graph(nn.Module):
    """Logits and probabilities of series as stored; the shapes stand in `INPUTS` and `OUTPUTS`.

    Args:
        model: in evaluation mode.
        metadata: of its checkpoint; scale, statistics, encoding of dates and temperature become part of the graph.

    Raises:
        UsageError: when the checkpoint holds no band statistics.
    """

    def __init__(self, model: Model, metadata: Metadata) -> None:
        super().__init__()
        if metadata.scale is None or not (metadata.bands and metadata.mean and metadata.std):
            raise UsageError(
                "a graph that reads stored numbers; the checkpoint holds no band statistics; "
                "import it again with --statistics-of DATASET, or export it as safetensors"
            )
        self.model = model
        self.normaliser = Normaliser(metadata.bands, metadata.bands, metadata.scale, metadata.mean, metadata.std)
        self.encoding, self.temperature = metadata.dates, metadata.temperature

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        batch = self.normaliser(Batch(series, encode_days(dates, valid, self.encoding), valid))
        logits = self.model(batch.series, batch.dates, batch.valid) / self.temperature
        return logits, logits.softmax(1)
