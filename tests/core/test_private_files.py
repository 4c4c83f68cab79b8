"""What vtsync stores on disk is closed to other users, whatever the umask and whatever was there before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.types import is_system_folder
from worker.broker.folder_transport import TakenMessages
from worker.broker.settings import embedded_settings
from worker.core.private_files import OTHERS, close_to_others, open_to_others, private_file, private_folder
from worker.monitoring.liveness import LivenessFile
from worker.store.db import open_engine, writing


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def _store(folder: Path) -> None:
    engine = open_engine(f"sqlite:///{folder / 'vtsync.sqlite3'}")
    with writing(engine) as db:
        db.exec_driver_sql("CREATE TABLE IF NOT EXISTS a (b)")
        assert open_to_others(folder) == []  # with the log of SQLite, which is there while the store is open
    engine.dispose()


def _taken(folder: Path) -> None:
    queue = private_folder(folder / "broker" / "queue")
    message = queue / "1_x.celery.msg"
    message.write_bytes(b'{"body": "", "headers": {}, "properties": {"delivery_tag": "1"}}')
    message.chmod(0o666)  # by a sender with another umask
    taken = TakenMessages(queue, folder / "broker" / "taken")
    assert taken.take(message.name) is not None


MAKERS: dict[str, Callable[[Path], object]] = {
    "a folder": private_folder,
    "a file": lambda folder: private_file(folder / "a"),
    "the store": _store,
    "the embedded broker": embedded_settings,
    "a message that a worker has taken": _taken,
    "a liveness file": lambda folder: LivenessFile(folder / "alive", "web"),
}


@pytest.mark.parametrize("made", MAKERS)
def test_only_its_owner_can_use_it(made: str, tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "data")
    MAKERS[made](folder)
    assert open_to_others(folder) == []


@pytest.mark.parametrize("made", ["a folder", "a file", "the store", "the embedded broker", "a liveness file"])
def test_what_an_earlier_version_left_open_is_closed(made: str, tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "data")
    MAKERS[made](folder)
    for path in folder.glob("alive/*"):  # of a process that has ended
        path.unlink()
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o066)
    close_to_others(folder)  # as every command does
    MAKERS[made](folder)
    assert open_to_others(folder) == []


def test_the_missing_parents_of_a_folder_are_private_too(tmp_path: Path) -> None:
    private_folder(tmp_path / "a" / "b")
    assert open_to_others(tmp_path / "a") == []


def test_a_folder_for_everybody_stays_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    close_to_others(tmp_path)
    assert tmp_path.stat().st_mode & OTHERS == 0o77


def test_the_owners_own_permissions_stay(tmp_path: Path) -> None:
    path = private_file(tmp_path / "a")
    path.chmod(0o444)
    close_to_others(path)
    assert path.stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize(
    ("path", "is_so"),
    [
        ("/", True),
        ("/usr", True),
        ("/var/lib", True),
        ("/var/lib/../lib/", True),
        ("/home", True),
        ("/tmp", True),
        ("/var/lib/vtsync", False),
        ("/var/vtsync", False),
        ("/data", False),
        ("/srv/vtsync", False),
        ("/home/ana", False),
    ],
)
def test_folders_that_other_programs_need(path: str, is_so: bool) -> None:
    assert is_system_folder(Path(path)) is is_so


def test_a_folder_of_the_system_is_never_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.core.private_files.is_system_folder", lambda path: path == tmp_path)
    tmp_path.chmod(0o755)
    close_to_others(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
