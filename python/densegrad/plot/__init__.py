"""Pictures, drawn with Matplotlib (``pip install 'densegrad[plot]'``), which is imported when the first one is drawn.

Each draws on the axes ``ax`` it is given, or on a new figure of pyplot's, and gives the axes.
"""

from densegrad.plot.axes import new_figure
from densegrad.plot.classes import confusion_matrix, decision_boundary
from densegrad.plot.curves import learning_curve, learning_rates
from densegrad.plot.drawing import network
from densegrad.plot.flow import gradient_flow

__all__ = [
    "confusion_matrix",
    "decision_boundary",
    "gradient_flow",
    "learning_curve",
    "learning_rates",
    "network",
    "new_figure",
]
