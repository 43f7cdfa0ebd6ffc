"""What the README promises, taken out of it to be tried.

``readme.py demo`` prints the command under the marker ``<!-- ci: demo -->``; without a word, every Python
example runs, in order and in one namespace.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def command(name: str) -> str:
    """The one line marked ``name``."""
    (line,) = re.findall(rf"<!-- ci: {name} -->\n```sh\n(.+)\n```\n", README)
    return str(line)


def run_examples() -> None:
    """Run each fence of Python."""
    namespace: dict[str, object] = {}
    for example in re.findall(r"^```python\n(.+?)^```$", README, re.DOTALL | re.MULTILINE):
        exec(example, namespace)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(command(sys.argv[1]))
    else:
        run_examples()
