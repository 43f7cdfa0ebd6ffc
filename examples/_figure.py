"""What the scripts beside this one share: ``--plot FILE``, and the look of their figures."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

RED, BLUE, GREEN, ORANGE, GREY = "#d1495b", "#4c72b0", "#55a868", "#dd8452", "#8c8c8c"

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def run(main: Callable[[], Any], draw: Callable[..., None], height: float = 3.6) -> None:
    """Run main, which computes and prints; with ``--plot FILE`` draw(figure, *what main gave) fills a figure."""
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plot", metavar="FILE", help="write the figure to FILE; needs Matplotlib")
    file = parser.parse_args().plot
    if file is None:
        main()
        return
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        sys.exit("--plot needs Matplotlib: pip install 'densegrad[plot]'")
    results = main()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, height))
        draw(figure, *results)
        figure.savefig(file, dpi=110)
