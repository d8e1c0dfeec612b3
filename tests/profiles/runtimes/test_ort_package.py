import os
import subprocess
import sys

SENDS_NOTHING = """
import sys
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event in ("socket.connect", "subprocess.Popen") else None)
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.spaces.operators.inverted_residual import mbconv
assert "onnxruntime" not in sys.modules
session = OrtCpu().load(onnx_bytes(mbconv((8, 8, 8), 8).program, 1), RuntimeOptions())
session.time(2); session.close()
assert "onnxruntime" in sys.modules and not seen, seen
"""


def test_onnx_runtime_reports_nothing(tmp_path):
    """It keeps a number of the machine and a queue of events in the cache folder, unless its telemetry is off."""
    quiet = {"ORT_DISABLE_TELEMETRY", "CI"}
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    done = subprocess.run(
        [sys.executable, "-c", SENDS_NOTHING],
        env={**environment, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not [*tmp_path.rglob("*onnxruntime*"), *tmp_path.rglob("deviceid")]
