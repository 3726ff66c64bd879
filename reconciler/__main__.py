"""Run ``python -m reconciler`` as ``treason``."""

from reconciler.cli import main

main()
