"""What a person reads of a run or a dataset: reports, figures and cards."""

from cropzoo.report.card import model_card
from cropzoo.report.dataset_card import write_dataset_card
from cropzoo.report.dataset_figure import save_dataset_figure
from cropzoo.report.figures import save_patches
from cropzoo.report.imagery import rgb_image
from cropzoo.report.page import write_report
from cropzoo.report.panels import Patch
from cropzoo.report.quicklook import write_quicklook

__all__ = [
    "Patch",
    "model_card",
    "rgb_image",
    "save_dataset_figure",
    "save_patches",
    "write_dataset_card",
    "write_quicklook",
    "write_report",
]
