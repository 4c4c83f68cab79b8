"""What the sync engine gives an adapter."""

from __future__ import annotations

import subprocess
import sys

WHILE_IMPORTED = """
import sys, threading, time
from crm_adapters.csv.adapter import CsvAdapter
from worker.contacts.services import _connects_by_oauth

class Slow:
    def find_spec(self, name, path=None, target=None):
        if "crm_adapters.oauth" in sys.modules and threading.current_thread().name == "importer":
            sys.meta_path.remove(self)
            time.sleep(0.5)
        return None

assert "crm_adapters.oauth" not in sys.modules
sys.meta_path.insert(0, Slow())
importer = threading.Thread(target=__import__, args=("crm_adapters.oauth",), name="importer")
importer.start()
while "crm_adapters.oauth" not in sys.modules:
    time.sleep(0.001)
assert not hasattr(sys.modules["crm_adapters.oauth"], "ConnectsByOAuth")
print(_connects_by_oauth(CsvAdapter))
importer.join()
"""


def test_a_sync_waits_for_another_thread_that_loads_oauth() -> None:
    done = subprocess.run([sys.executable, "-c", WHILE_IMPORTED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")
