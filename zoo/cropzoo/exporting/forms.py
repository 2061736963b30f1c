"""The forms that a model is exported in, and the names of the files beside it; no heavy import."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from cropzoo.errors import UsageError


class Form(Enum):
    """A format of files; its value is the suffix without the dot."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    PT2 = "pt2"


def form_of(out: Path, asked: str | None) -> Form:
    """The form that is asked for, else the one that the suffix of `out` says.

    Raises:
        UsageError: for another suffix than the form has: other programs would not know the file as what it is.
    """
    suffix = out.suffix.removeprefix(".")
    known = [form.value for form in Form]
    if asked is None and suffix not in known:
        raise UsageError(f"--out {str(out)!r}; its name must end in .{', .'.join(known[:-1])} or .{known[-1]}")
    form = Form(asked or suffix)
    if suffix != form.value:
        raise UsageError(
            f"--out {str(out)!r}; a file of --format {form.value} must have a name that ends in .{form.value}"
        )
    return form


def beside(out: Path, form: Form, suffix: str) -> Path:
    """The file beside `out` with that suffix: several graphs of one model may stand in one folder."""
    if form is Form.SAFETENSORS and suffix == ".md":
        return out.with_suffix(suffix)
    return out.with_name(out.name + suffix)


def all_beside(out: Path, form: Form) -> list[Path]:
    """All files that an export writes."""
    suffixes = (".md", ".stac.json") if form is Form.SAFETENSORS else (".md", ".stac.json", ".check.json")
    return [out, *(beside(out, form, suffix) for suffix in suffixes)]
