"""Run ``python -m worker.cli`` like ``vtsync``."""

from vtsync import main

main()
