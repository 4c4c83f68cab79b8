"""``python -m worker.cli``: the same as ``vtsync``, for processes that are started by path of the interpreter."""

from worker.cli import main

main()
