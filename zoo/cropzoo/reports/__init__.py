"""Reports, figures and cards of runs, models and datasets."""

from cropzoo.reports.dataset_card import write_dataset_card
from cropzoo.reports.dataset_figure import save_dataset_figure
from cropzoo.reports.dataset_page import write_quicklook
from cropzoo.reports.model_card import model_card
from cropzoo.reports.patches import ReportPatch, save_patches
from cropzoo.reports.run_page import write_report
from cropzoo.reports.thumbnails import get_orientation, rgb_image

__all__ = [
    "ReportPatch",
    "get_orientation",
    "model_card",
    "rgb_image",
    "save_dataset_figure",
    "save_patches",
    "write_dataset_card",
    "write_quicklook",
    "write_report",
]
