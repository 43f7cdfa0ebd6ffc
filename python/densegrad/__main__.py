"""``python -m densegrad`` is the ``densegrad`` command."""

from densegrad.cli import main

raise SystemExit(main())
