"""Messages of output errors, and their remedies."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.base.errors import OutputError, machine_fault
from stages.base.files import write_text
from tests.support.root import ROOT


def piped(code: str, first: int, **environment: str) -> tuple[int, str, str]:
    """Runs `code` with `exit_with`; returns its exit code, the `first` bytes of its output, and its errors."""
    start = "import sys\nfrom stages.base.errors import exit_with, unread_output\n"
    with subprocess.Popen(
        [sys.executable, "-c", f"{start}{code}\nsys.exit(exit_with(main))"],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout and process.stderr
        read = process.stdout.read(first)
        process.stdout.close()
        return process.wait(240), read.decode(), process.stderr.read().decode()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough(unbuffered: str) -> None:
    """After `| head` a program ends without a message, whether it notices at a print or at its end."""
    endless = "def main():\n while True: print('a' * 1000, flush=True)"
    assert piped(endless, 5, PYTHONUNBUFFERED=unbuffered) == (141, "aaaaa", "")
    at_end = "import time\ndef main():\n time.sleep(0.5)\n print('b')\n return 0"  # kept until the reader is gone
    assert piped(at_end, 0, PYTHONUNBUFFERED=unbuffered) == (141, "", "")


def test_output_that_nothing_needs() -> None:
    """A program whose work is done before it prints succeeds all the same."""
    code = "def main():\n with unread_output():\n  while True: print('a' * 1000, flush=True)\n return 0"
    assert piped(code, 5) == (0, "aaaaa", "")


def test_another_broken_pipe() -> None:
    """The error of another pipe is not taken for one of standard output."""
    code = "def main():\n print('a')\n raise BrokenPipeError(32, 'Broken pipe')"
    exit_code, _, error = piped(code, -1)
    assert exit_code == 1 and "Traceback" in error and "BrokenPipeError" in error


def test_characters_that_the_output_cannot_have() -> None:
    """They are escaped."""
    code = "def main():\n print('\u00c4hre \u2588')\n return 0"
    assert piped(code, -1, PYTHONIOENCODING="ascii") == (0, "\\xc4hre \\u2588\n", "")


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("folder", "Is a directory; the path is a folder: choose a file in it"),
        ("file/x.txt", "File exists; a part of the path is a file: choose another path"),
        ("x" * 300, "File name too long; choose a shorter name"),
        ("/proc/x.txt", "No such file or directory; choose another path"),
    ],
)
def test_output_error_has_a_suitable_remedy(tmp_path: Path, path: str, remedy: str) -> None:
    """The remedy of an output error depends on its cause."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        write_text(tmp_path / path, "text")
    assert str(caught.value) == f"cannot write {tmp_path / path}: {remedy}"


def test_output_above_a_size_limit(tmp_path: Path) -> None:
    """A write above the file size limit keeps the earlier file, and the error names the limit."""
    (tmp_path / "x.txt").write_text("earlier")
    code = (
        "import signal, sys\nfrom pathlib import Path\nfrom stages.base.errors import exit_with\n"
        "from stages.base.files import write_text\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "sys.exit(exit_with(lambda: write_text(Path('x.txt'), 'a' * 100_000)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 1
    assert result.stderr == (
        "error: cannot write x.txt: File too large; raise the limit on the size of files (ulimit -f), then run again\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "earlier"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("bytearray(1 << 46)", "there is not enough memory; close other programs or raise the limit on memory"),
        ("[open(os.devnull) for _ in range(99)]", "/dev/null: Too many open files; close other programs or raise the"),
        ("Path('x').write_bytes(bytes(99_999))", "File too large; raise the limit on the size of files"),
        ("[Thread(target=time.sleep, args=[9], daemon=True).start() for _ in range(99)]", "no thread can be started;"),
    ],
)
def test_faults_of_the_machine(tmp_path: Path, statement: str, message: str) -> None:
    """Errors that any line can meet end a program with one sentence and the exit code 1."""
    code = (
        "import os, resource, signal, sys, time\nfrom pathlib import Path\nfrom threading import Thread\n"
        "from stages.base.errors import exit_with\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "limits = {'AS': 1 << 30, 'NOFILE': 50, 'FSIZE': 50_000}\n"
        "[resource.setrlimit(getattr(resource, f'RLIMIT_{name}'), (value, value)) for name, value in limits.items()]\n"
        f"sys.exit(exit_with(lambda: {statement}))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", "import threading; threading.stack_size(1 << 26)\n" + code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "is_fault"),
    [
        ("libgomp.so.1: cannot open shared object file: No such file or directory", False),
        ("libc.so.6: cannot allocate memory in static TLS block", False),
        ("x.so: failed to map segment from shared object", True),
        ("x.so: cannot create shared object descriptor: Cannot allocate memory", True),
        ("x.so: cannot open shared object file: Too many open files", True),
    ],
)
def test_libraries_that_cannot_be_loaded(text: str, is_fault: bool) -> None:
    """Only a limit of the machine is called one: a missing library is not."""
    assert (machine_fault(ImportError(text)) is not None) == is_fault


def test_no_temporary_folder() -> None:
    """Python's own message names the folders; a file that is missing is no fault of the machine."""
    text = "No usable temporary directory found in ['/tmp']"
    sentence = str(machine_fault(FileNotFoundError(errno.ENOENT, text)))
    assert sentence.startswith(f"{text}; free disk space")
    assert machine_fault(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))) is None


def test_errors_of_extensions() -> None:
    """An error of the interpreter counts as lack of memory only if a MemoryError led to it."""
    text = "<built-in function f> returned NULL without setting an exception"
    assert machine_fault(SystemError(text)) is None
    try:
        try:
            raise MemoryError
        except MemoryError as cause:
            raise SystemError("f returned a result with an exception set") from cause
    except SystemError as error:
        assert str(machine_fault(error)).startswith("there is not enough memory")


@pytest.mark.parametrize(("free", "is_fault"), [(1 << 20, True), (1 << 30, False)])
def test_extensions_that_lose_a_memory_error(monkeypatch: pytest.MonkeyPatch, free: int, is_fault: bool) -> None:
    """An extension that fails without an error has met the limit on memory if hardly anything is left of it."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (used + free, resource.RLIM_INFINITY))
    assert (machine_fault(SystemError("error return without exception set")) is not None) == is_fault


def test_errors_of_libraries_in_cpp() -> None:
    """ONNX Runtime has errors of its own for a lack of memory, while it is loaded too."""
    text = "Exception caught: std::bad_alloc"
    for error in (ImportError(text), RuntimeError(text)):
        assert str(machine_fault(error)).startswith("there is not enough memory")
    assert machine_fault(RuntimeError("Exception caught: std::length_error")) is None


def test_threads_of_libraries_that_cannot_be_started() -> None:
    """TensorFlow has the words of the system alone for a thread that it cannot start."""
    assert str(machine_fault(RuntimeError("Resource temporarily unavailable"))).startswith("no thread can be started")


def test_destructors_without_memory_are_silent() -> None:
    """Only the program's own error is told; a destructor that fails for another reason is seen as ever."""
    program = (
        "from stages.base.errors import exit_with\n"
        "class Held:\n"
        "    def __init__(self, error): self.error = error\n"
        "    def __del__(self): raise self.error\n"
        "held = [Held(MemoryError()), Held(ValueError('seen'))]\n"
        "def main():\n"
        "    held.pop(0)\n"
        "    raise MemoryError\n"
        "raise SystemExit(exit_with(main))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: there is not enough memory")
    assert "MemoryError" not in done.stderr and "ValueError: seen" in done.stderr


@pytest.mark.parametrize("starter", ["start()", "Thread(target=start).start()"])
def test_a_thread_without_memory_to_begin(starter: str) -> None:
    """The program says so and ends: in Python, `start` waits for ever for a thread that had no memory to begin."""
    program = (
        "from threading import Event, Thread\n"
        "from stages.base.errors import exit_with\n"
        "class Starved(Thread):\n"
        "    def _set_ident(self): raise MemoryError\n"
        "def start(): Starved().start()\n"
        "def main():\n"
        f"    {starter}\n"
        "    Event().wait()\n"
        "raise SystemExit(exit_with(main))"
    )
    call = [sys.executable, "-c", program]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGTERM
    assert done.stderr.startswith("error: there is not enough memory to start a thread; close other programs")


def test_pipes_that_are_not_ready() -> None:
    """A descriptor that is not ready for reading has nothing to do with the limit on processes."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    try:
        with pytest.raises(BlockingIOError) as caught:
            os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)
    assert machine_fault(caught.value) is None


def test_limit_on_processes() -> None:
    """A process that cannot be started, by `subprocess` or by a fork, ends a program with the limit's name."""
    code = (
        "import os, resource, subprocess, sys\nfrom stages.base.errors import machine_fault\n"
        "if os.getuid() == 0:\n    os.setuid(54321)  # root has no limit\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))\n"
        "for start in (lambda: subprocess.run(['/bin/true']), lambda: os.fork() or os._exit(0)):\n"
        "    try:\n        start()\n    except OSError as error:\n        print(machine_fault(error))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.count("raise the limit on processes (ulimit -u), then run again") == 2, done


def test_permissions_of_no_file() -> None:
    """A refused operation that names no file, such as a signal to another's process, has no remedy of a folder."""
    assert machine_fault(PermissionError(errno.EPERM, "Operation not permitted")) is None
    sentence = machine_fault(PermissionError(errno.EACCES, "Permission denied", "out/x"))
    assert str(sentence).startswith("out/x: Permission denied; fix the permissions of the folder")
