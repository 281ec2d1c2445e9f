"""Executes notebooks in forks of one process that has imported everything once.

    python -m book.forkserver COMMAND...

A step of the demo computes for ten seconds or so; a papermill and a kernel that start from nothing
spend eight more on imports, for each of its 36 notebooks. Here the libraries are imported once.
COMMAND finds in $PAPERMILL what to call in place of `papermill`, with the same arguments: each call
is answered by a fork that runs papermill's own command line, and the kernel is a fork too, spoken
to as any other. The project's own modules are imported anew by each kernel.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from importlib.metadata import EntryPoint
from pathlib import Path

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

CLIENT = Path(__file__).with_name("papermill_warm.py")
NAME = "forked"


class Kernel:
    """A fork that becomes a kernel when it is told its command; looks like subprocess.Popen."""

    stdin = stdout = stderr = None
    current: "Kernel"  # of this process: an execution has one notebook and one kernel

    def __init__(self, connection: socket.socket) -> None:
        order, self.order = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            with forked():
                os.close(self.order)
                connection.close()
                with open(order) as pipe:
                    text = pipe.read()
                if text:
                    become_kernel(**json.loads(text))
        os.close(order)

    def start(self, command: list[str], environment: dict[str, str], folder: str | None) -> None:
        order = {"command": command, "environment": environment, "folder": folder}
        with open(self.order, "w") as pipe:
            json.dump(order, pipe)

    def poll(self, how: int = os.WNOHANG) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, how)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int | None:
        return self.poll(0)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class ForkProvisioner(LocalProvisioner):
    """Starts the fork that waits, where Jupyter would start a new interpreter."""

    async def launch_kernel(self, cmd, **kwargs):
        self.process = Kernel.current
        environment = kwargs["env"] | {"JPY_PARENT_PID": str(os.getpid())}
        self.process.start(cmd, environment, kwargs.get("cwd"))
        self.pid = self.process.pid
        return self.connection_info


@contextlib.contextmanager
def forked():
    """A fork ends here, whatever happens: it never goes on with what its parent was doing."""
    status = 1
    try:
        yield
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def become_kernel(command: list[str], environment: dict[str, str], folder: str | None) -> None:
    import matplotlib
    import torch
    from ipykernel.kernelapp import IPKernelApp

    os.environ.clear()
    os.environ.update(environment)
    if folder:
        os.chdir(folder)
    # Both are read from the environment when a library is loaded, which was before the fork.
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    matplotlib.rcParams["backend"] = "module://matplotlib_inline.backend_inline"
    sys.argv = command[command.index("-m") + 1 :]
    IPKernelApp.launch_instance(sys.argv[1:])


def import_everything() -> None:
    """All that the notebooks import, less the project itself and what asks whether it is in one."""
    import lib

    for module in pkgutil.walk_packages(lib.__path__, "lib."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("ipykernel.kernelapp", "ipywidgets", "papermill.cli"):
        importlib.import_module(name)
    # tqdm draws another bar in a notebook, and shares a lock between forks, where one that is
    # killed while it holds the lock would stop the others.
    for name in list(sys.modules):
        if name.split(".")[0] in ("lib", "tqdm"):
            del sys.modules[name]


def execute(connection: socket.socket) -> None:
    """One notebook, in this fork; ends it where the client ends."""
    head, files, _, _ = socket.recv_fds(connection, 8, 2)
    body = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
    request = json.loads(body)
    for file, number in zip(files, (1, 2), strict=True):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"] | {"JUPYTER_DEFAULT_PROVISIONER_NAME": NAME})
    os.chdir(request["folder"])
    kernel = Kernel.current = Kernel(connection)

    def watch() -> None:
        connection.recv(1)
        kernel.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    provisioners = KernelProvisionerFactory.instance().provisioners
    group = KernelProvisionerFactory.GROUP_NAME
    provisioners[NAME] = EntryPoint(NAME, f"{__name__}:ForkProvisioner", group)
    status = 1
    try:
        from papermill.cli import papermill

        papermill.main(args=request["arguments"], prog_name="papermill")
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        kernel.kill()
        connection.sendall(bytes([status]))


def serve(command: list[str]) -> int:
    """Runs the command and answers its calls; returns its exit status."""
    environment = dict(os.environ)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads that it starts at import do not fork
    import_everything()
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as door:
        door.bind(path := f"{folder}/papermill")
        door.listen()
        call = shlex.join([sys.executable, "-I", "-S", str(CLIENT), path])
        process = subprocess.Popen(command, env=environment | {"PAPERMILL": call})
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C goes to the command, which ends
        forks: set[int] = set()
        while process.poll() is None:
            forks -= {pid for pid in forks if os.waitpid(pid, os.WNOHANG)[0]}
            if not select.select([door], [], [], 0.1)[0]:
                continue
            connection, _ = door.accept()
            pid = os.fork()
            if not pid:
                with forked():
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                    door.close()
                    execute(connection)
            forks.add(pid)
            connection.close()
        return process.returncode


if __name__ == "__main__":
    # Kernels find their provisioner in the module's own name, not in __main__.
    from book import forkserver

    sys.exit(forkserver.serve(sys.argv[1:]))
