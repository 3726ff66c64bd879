"""Run ``python -m reconciler`` as ``treason``."""

from reconciler.cli.main import main

main()
