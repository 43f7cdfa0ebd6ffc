"""The command line: ``densegrad demo | info | bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from densegrad._base.version import __version__
from densegrad._cli import info


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status: 0, 1 for a failure, 2 for a mistyped call."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "demo":
            from densegrad._cli.demo import run_demo  # imports nothing heavy unless it is asked for

            run_demo(options.data, options.epochs, options.output)
        elif options.command == "bench":
            from densegrad._cli.bench import run_bench

            run_bench(options.quick, options.threads)
        else:
            for name, value in info.facts().items():
                print(f"{name + ':':<17} {value}")
    except (ValueError, ImportError, OSError) as error:
        print(f"densegrad {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ndensegrad {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="densegrad", description="Dense neural networks, fast on the CPU.")
    parser.add_argument("--version", action="version", version=f"densegrad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="train on handwritten digits, draw the learning curve, save the model")
    demo.add_argument("--data", metavar="DIR", help="a folder with MNIST's four IDX files; default: embedded digits")
    demo.add_argument("--epochs", type=_epochs, default=20, help="passes over the images (default %(default)s)")
    demo.add_argument("--output", metavar="DIR", default=".", help="where picture and model go (default: here)")
    commands.add_parser("info", help="print version, backend, instruction set, threads and OpenMP runtime")
    bench = commands.add_parser("bench", help="time training steps of networks from tiny to large")
    bench.add_argument("--quick", action="store_true", help="run each just long enough to see it work")
    bench.add_argument("--threads", action="store_true", help="one thread beside as many as the core chooses")
    return parser


def _epochs(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected --epochs >= 1, got {text}")
    return int(text)
