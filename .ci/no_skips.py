"""Fails where a pytest run left a test out: ``no_skips.py RUN JUNIT_XML [REASON ...]``.

A skip passes for as long as its reason contains one of the REASONs given, or stands in
``allowed_skips.txt`` for this RUN.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def allowed(run: str) -> list[str]:
    """The reasons that the file allows for ``run``."""
    lines = [line for line in ALLOWED.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [reason for name, reason, why in rows if name == run and why]


def main(run: str, report: str, *reasons: str) -> int:
    """Print one line for the run and one for each skip; gives the exit status."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    skips = [
        (f"{case.get('classname')}::{case.get('name')}", skip.get("message", ""))
        for case in cases
        for skip in case.iter("skipped")
        if skip.get("type") != "pytest.xfail"
    ]
    accepted = [*reasons, *allowed(run)]
    refused = [(test, why) for test, why in skips if not any(reason in why for reason in accepted)]
    counts = f"{len(cases)} tests, {len(skips)} skipped, {len(refused)} of them without leave"
    print(f"{Path(report).stem}: {counts}")
    for test, why in refused:
        print(f"skipped without leave: {test}: {why}", file=sys.stderr)
    return 1 if refused or not cases else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
