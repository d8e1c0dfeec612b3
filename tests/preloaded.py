"""Python processes that begin with the large packages imported: forked from a server, not started anew.

A new interpreter takes four seconds of processor time to import torch and scipy. nascli itself is not imported in advance:
every process does it by its own imports.
"""

import os
import runpy
import signal
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

# A process with several threads is not forked safely: packages that start one as they are imported are not here.
PACKAGES = ["torch", "torch._dynamo", "scipy.optimize", "scipy.stats"]
SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(PACKAGES)


class Python:
    """A process that runs a module or a script, as `python -m MODULE WORDS` or `python SCRIPT WORDS` do.

    Args:
        what: Name of the module, or path of the script.
        words: Arguments of the command line.
        cwd: Folder in which the process runs; by default that of this process.
        env: Environment variables, besides those of this process.
        quick_measuring: Whether it measures with few and short bursts, as the fixture of this name does here.
    """

    def __init__(self, what, *words, cwd=".", env=None, quick_measuring=False):
        self._folder = TemporaryDirectory()
        self._streams = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        arguments = [str(what), *(str(word) for word in words)]
        environment = {**os.environ, **(env or {})}
        self._process = SERVER.Process(
            target=run,
            args=(arguments, str(cwd), environment, [str(s) for s in self._streams], quick_measuring),
        )
        self._process.start()

    def finish(self, timeout):
        """Wait for the end; return the exit status and what was written, or kill the process and raise TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self.kill()
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        output, errors = (s.read_text() if s.exists() else "" for s in self._streams)
        self._folder.cleanup()
        return subprocess.CompletedProcess(self._process.name, self._process.exitcode, output, errors)

    def kill_after(self, seconds):
        """Kill the process with SIGKILL, unless it ends earlier."""
        self._process.join(seconds)
        self.kill()

    def kill(self):
        if self._process.exitcode is None:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()
        self._folder.cleanup()


def run(arguments, folder, environment, streams, quick_measuring):
    """Become the process: its arguments, folder, environment, and streams; then run."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in enumerate(streams, start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    sys.argv = arguments
    sys.path.insert(0, os.getcwd())
    if quick_measuring:
        from measuring import measure_quickly

        measure_quickly()
    if arguments[0].endswith(".py"):
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
