"""Recording: as many axes of any length as a network allows, and an error for one that cannot be recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cropzoo.errors import CropzooError, UsageError
from cropzoo.inference.export.graph import ExportGraph
from cropzoo.inference.export.torch_export import TracedGraph, program_runner, trace_graph
from cropzoo.inference.export.verify import compare_outputs, random_input, reference_output, within_tolerance


def traced(made: Callable[..., Any], network: str, *, fixed_length: bool = False, **changes: Any) -> TracedGraph:
    model, metadata = made(network, **changes)
    graph = ExportGraph(model, metadata).eval().requires_grad_(False)
    return trace_graph(graph, metadata, fixed_length=fixed_length, multiple=1)


def test_any_number_of_series_dates_and_pixels(made: Callable[..., Any]) -> None:
    model, metadata = made()
    found = traced(made, "mean")
    assert (found.dynamic, found.refused) == (("batch", "dates", "size"), {})
    for shape in ((1, 1, 6, 6), (5, 23, 9, 31)):
        given = random_input(metadata, *shape)
        assert within_tolerance(
            compare_outputs([program_runner(found.program)(given)], [reference_output(model, metadata, given)])
        )


def test_temperature_and_statistics_are_part_of_the_graph(made: Callable[..., Any]) -> None:
    model, metadata = made()
    given = random_input(metadata, 2, 4, 6, 6)
    cooler, _ = made(temperature=1.0)
    other = metadata.model_copy(update={"mean": (0.2, 0.3)})
    pairs = ((model, metadata), (cooler, metadata), (model, other))
    answers = [reference_output(*pair, given)[0] for pair in pairs]
    assert abs(answers[1] - 1.7 * answers[0]).max() < 1e-6
    assert abs(answers[2] - answers[0]).max() > 0.01
    assert abs(program_runner(traced(made, "mean").program)(given)[0] - answers[0]).max() < 1e-5


def test_a_size_that_is_fixed_is_reported(made: Callable[..., Any]) -> None:
    found = traced(made, "one-size")
    assert found.dynamic == ("batch", "dates")
    assert "size" in found.refused
    assert "\n" not in found.refused["size"]


def test_a_fixed_number_of_dates_is_no_refusal(made: Callable[..., Any]) -> None:
    found = traced(made, "mean", fixed_length=True, length=3)
    assert (found.dynamic, found.refused) == (("batch", "size"), {})
    with pytest.raises(Exception, match=r"size\(\)\[1\] == 3"):
        program_runner(found.program)(random_input(made()[1], 1, 4, 6, 6))


def test_a_network_that_asks_for_values_is_refused_in_one_line(
    made: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CropzooError, match=r"'asking' as a graph; it cannot be traced: .*is_exporting") as error:
        traced(made, "asking")
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_a_graph_that_computes_something_else_is_refused(made: Callable[..., Any]) -> None:
    with pytest.raises(CropzooError, match=r"differs from the model by 0\.0"):
        traced(made, "other")


def test_a_checkpoint_without_statistics(made: Callable[..., Any]) -> None:
    model, metadata = made(bands=(), scale=None, mean=(), std=())
    with pytest.raises(UsageError, match="--statistics-of"):
        ExportGraph(model, metadata)
