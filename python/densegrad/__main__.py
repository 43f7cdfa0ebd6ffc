"""``python -m densegrad`` is the ``densegrad`` command."""

from densegrad._cli.main import main

raise SystemExit(main())
