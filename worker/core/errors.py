"""Describes unexpected errors without their text, which may hold a phone number, a text or a credential."""

from __future__ import annotations

import traceback
from pathlib import PurePath


def described(error: BaseException) -> str:
    """Return the type of an error and where it was raised: ``TypeError in reader.py line 12``."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    return f"{type(error).__name__} in {PurePath(frames[-1].filename).name} line {frames[-1].lineno}"
