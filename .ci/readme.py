"""What the README and the pages promise, taken out of them to be tried.

``readme.py demo`` prints the command under the marker ``<!-- ci: demo -->``. ``readme.py docs/mnist.md`` runs every
Python example of a page, in order and in one namespace; without a word, those of the README.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def command(name: str) -> str:
    """The one line marked ``name``."""
    (line,) = re.findall(rf"<!-- ci: {name} -->\n```sh\n(.+)\n```\n", (ROOT / "README.md").read_text("utf-8"))
    return str(line)


def run_examples(page: str) -> None:
    """Run each fence of Python of a page."""
    namespace: dict[str, object] = {}
    for example in re.findall(r"^```python\n(.+?)^```$", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE):
        exec(example, namespace)


if __name__ == "__main__":
    word = (sys.argv[1:] or ["README.md"])[0]
    if word.endswith(".md"):
        run_examples(word)
    else:
        print(command(word))
