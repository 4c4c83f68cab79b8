"""``python -m worker.cli``: the same as ``vtsync``, for processes started by the path of the interpreter."""

from worker.cli import main

main()
