"""A plan in words, for `--dry-run`."""

from __future__ import annotations

from collections import Counter

from cropzoo.prepare.planning import Plan


def plan_lines(plan: Plan) -> list[str]:
    """What would be made: samples, folds, space on disk, and the classes with their pixels by fold."""
    ground = plan.ground
    dates = [len(ground.dates(place)) for place in plan.places]
    span = f"{min(dates)}" if min(dates) == max(dates) else f"{min(dates)} to {max(dates)}"
    samples = Counter(plan.folds.of)
    folds = sorted(samples)
    lines = [
        f"samples  {len(plan.places)} of up to {ground.options.window} x {ground.options.window} pixels, {span} dates, "
        f"bands {', '.join(ground.tiles[0].bands)}",
        f"folds    {', '.join(f'{fold}: {samples[fold]}' for fold in folds)} samples; {plan.folds.how}",
        f"writes   {plan.bytes / 1e9:.2f} GB",
        "",
    ]
    rows = [["class", "code", *(f"fold {fold}" for fold in folds), "pixels"]]
    for index, entry in enumerate(plan.legend.classes):
        pixels = [int(plan.counts[[own == fold for own in plan.folds.of], index].sum()) for fold in folds]
        rows.append([entry.name, str(entry.code), *map(str, pixels), str(sum(pixels))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines
