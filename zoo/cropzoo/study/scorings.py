"""Other ways to score the runs of a study, beside the scores that each has at the end of its training."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cropzoo.days import parse_day
from cropzoo.errors import UsageError
from cropzoo.recipe import as_list
from cropzoo.schema import Schema, Whole

AS_TRAINED = "as trained"
"""What the scores at the end of training are called beside others."""


class Scoring(Schema):
    """How the chosen weights of finished runs are scored once more; nothing is trained again.

    Args:
        until: the last day of the series, "06-15" of the year in which they end, or "2019-06-15".
        upsample: how logits are brought to labels that are finer.
        dataset: options over those of the training, such as {label_scale: 4}; a name, or options with one: other data.
        years, sites: of the samples that are scored, in the forms of a recipe's `test_years` and `test_sites`; an empty
            list is all of them, whatever the training chose.
    """

    until: str | None = None
    upsample: Literal["nearest", "bilinear"] | None = None
    dataset: str | dict[str, Any] = Field(default_factory=dict)
    years: tuple[Whole, ...] = ()
    sites: tuple[str, ...] = ()

    @field_validator("until", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        return None if value is None else day_text(value)

    @field_validator("years", "sites", mode="before")
    @classmethod
    def _list(cls, value: Any, info: Any) -> Any:
        return as_list(value, int if info.field_name == "years" else str)

    @model_validator(mode="after")
    def _other(self) -> Scoring:
        if not (self.until or self.upsample or self.dataset or {"years", "sites"} & self.model_fields_set):
            raise ValueError(
                f"a scoring must differ from that of the training; give any of {', '.join(type(self).model_fields)}"
            )
        return self

    def to_mapping(self) -> dict[str, Any]:
        """What was given."""
        return self.model_dump(mode="json", exclude_unset=True)

    def changes(self, split: str) -> dict[str, Any]:
        """Settings over those of the training, in the recipe's mapping form, to score this split."""
        group = "test" if split == "test" else "train"  # whose years and sites val has
        given = {"dataset": self.dataset, f"{group}_years": list(self.years), f"{group}_sites": list(self.sites)}
        return {key: value for key, value in given.items() if key.removeprefix(f"{group}_") in self.model_fields_set}


def day_text(value: Any) -> str:
    """A day as people write it; YAML reads 2019-06-15 as a date.

    Raises:
        ValueError: it is no day.
    """
    text = value.isoformat() if isinstance(value, date) else str(value)
    try:
        parse_day("until", text)
    except UsageError as error:
        raise ValueError(str(error).partition("; ")[2]) from None
    return text
