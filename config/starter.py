"""The commented configuration file that ``vtsync init`` writes."""

from __future__ import annotations

from pathlib import Path

from config.errors import ConfigError, ConfigProblem


def starter_text() -> str:
    """Return a complete, commented configuration. It loads once ``VTSYNC_UID`` and ``VTSYNC_TOKEN`` are set."""
    return Path(__file__).with_name("starter.toml").read_text(encoding="utf-8")


def write_starter(path: Path) -> None:
    """Write the starter file to ``path``. Raises ConfigError if a file exists there or cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(starter_text())
    except FileExistsError:
        problem = ConfigProblem(
            "", None, "exists already and was not changed", "remove it first, or write to another path"
        )
    except OSError as error:
        problem = ConfigProblem(
            "", None, f"cannot be written: {error.strerror}", "choose a folder that exists and is writable"
        )
    else:
        return
    raise ConfigError([problem], str(path))
