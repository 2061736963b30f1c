"""Other ways to score the runs of a study, beside the scores that each has at the end of its training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cropzoo.days import parse_day
from cropzoo.schema import Schema, Whole


class Scoring(Schema):
    """How the chosen weights of finished runs are scored once more; nothing is trained again.

    Args:
        until: the last day of the series, "06-15" of the year in which they end, or "2019-06-15".
        upsample: how logits are brought to labels that are finer.
        dataset: options over those of the training, such as {label_scale: 4}; a name, or options with one: other data.
        test_years, test_sites: as in a recipe.
    """

    until: str | None = None
    upsample: Literal["nearest", "bilinear"] | None = None
    dataset: str | dict[str, Any] = Field(default_factory=dict)
    test_years: tuple[Whole, ...] = ()
    test_sites: tuple[str, ...] = ()

    @field_validator("until", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        if value is None:
            return None
        parse_day("until", str(value))  # YAML reads 2019-06-15 as a date
        return str(value)

    @model_validator(mode="after")
    def _other(self) -> Scoring:
        if self == Scoring.model_construct():
            raise ValueError(f"a scoring must differ from that of the training; give any of {', '.join(self.known())}")
        return self

    @classmethod
    def known(cls) -> list[str]:
        """What a scoring can say."""
        return list(cls.model_fields)

    @property
    def changes(self) -> dict[str, Any]:
        """Settings over those of the training, in the recipe's mapping form."""
        given = {"dataset": self.dataset, "test_years": self.test_years, "test_sites": self.test_sites}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in given.items() if value}
