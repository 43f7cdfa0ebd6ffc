"""What the scripts beside this one share: ``--plot FILE``, ``--svg FOLDER``, and the look of their figures."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
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


def run(
    main: Callable[[], Any],
    draw: Callable[..., None],
    height: float = 3.6,
    drawings: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """Run main, which computes and prints; with ``--plot FILE`` draw(figure, *what main gave) fills a figure.

    Where there are drawings of graphs, ``--svg FOLDER`` writes them instead, by their names.
    """
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plot", metavar="FILE", help="write the figure to FILE; needs Matplotlib")
    if drawings:
        parser.add_argument("--svg", metavar="FOLDER", type=Path, help="write the drawings of graphs into FOLDER")
    options = vars(parser.parse_args())
    if options.get("svg"):
        for name, drawing in drawings().items():
            drawing.save(options["svg"] / f"{name}.svg")
        return
    file = options["plot"]
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
