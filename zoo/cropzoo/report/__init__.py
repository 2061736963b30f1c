"""What a person reads of a run: the report, the figures and the model card."""

from cropzoo.report.card import model_card
from cropzoo.report.figures import save_patches
from cropzoo.report.imagery import rgb_image
from cropzoo.report.page import write_report
from cropzoo.report.panels import Patch

__all__ = ["Patch", "model_card", "rgb_image", "save_patches", "write_report"]
