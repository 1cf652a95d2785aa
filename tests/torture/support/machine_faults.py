"""Faults of the machine, begun and ended by force: full disk, read-only folders, limits, a clock that jumps."""

import errno
import mmap
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

DAY_S = 24 * 3600
DISK = 192 << 20  # bytes
FOLDERS = (".", ".dvc/tmp", ".dvc/cache/files/md5", ".inkflow", "data", "evaluation", "models", "reports")
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long *offset_s;
__attribute__((constructor)) static void begin(void) {
  const char *name = getenv("CLOCK_OFFSET");
  int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *page = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
  if (page != MAP_FAILED) offset_s = page;
  close(file);
}
static long now_offset_s(void) { return offset_s ? *offset_s : 0; }
int clock_gettime(clockid_t clock, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(clock, at);
  if (!code && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += now_offset_s();
  return code;
}
int gettimeofday(struct timeval *at, void *zone) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  int code = real(at, zone);
  if (!code) at->tv_sec += now_offset_s();
  return code;
}
time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
"""

Family = Callable[[], list[psutil.Process]]


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mounts a small file system in memory at `folder`; yields False where this user may not."""
    folder.mkdir(parents=True)
    mounted = _call("mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full_disk(folder: Path, chance: random.Random) -> Iterator[str]:
    """Fills the small file system of `folder` to its last bytes, or its last pages."""
    total = shutil.disk_usage(folder).total
    assert total <= DISK, f"{folder} is on a file system of {total:,} bytes, not on a small disk: it is not filled"
    filler, left = folder / ".filler", chance.choice((0, 0, 4096, 1 << 16, 1 << 18))
    try:
        with filler.open("wb") as file:
            while (size := shutil.disk_usage(folder).free - left) > 0:
                try:
                    os.posix_fallocate(file.fileno(), 0, size)
                    break
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    # a running stage has taken space meanwhile
        yield f"disk full, {left >> 10} KiB left"
    finally:
        filler.unlink(missing_ok=True)


@contextmanager
def read_only(project: Path, chance: random.Random) -> Iterator[str]:
    """Makes a folder of a project immutable, for root too."""
    folder = project / chance.choice([name for name in FOLDERS if (project / name).is_dir()])
    assert _call("chattr", "+i", str(folder)), f"chattr +i {folder}"
    try:
        yield f"{folder.relative_to(project) if folder != project else 'project'} read-only"
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)


def can_be_read_only(folder: Path) -> bool:
    """Returns whether this user may make `folder` immutable: root may, on common file systems."""
    return _call("chattr", "+i", str(folder)) and _call("chattr", "-i", str(folder))


@contextmanager
def limited(family: Family, chance: random.Random, kind: int) -> Iterator[str]:
    """Limits open files, memory or the size of files of all processes of a run; yields "" if none has the limit."""
    limited_processes = 0
    for process in family():
        with suppress(psutil.Error, OSError, ValueError):
            if kind == resource.RLIMIT_NOFILE:
                limit = chance.randrange(4, 40)
            elif kind == resource.RLIMIT_FSIZE:
                limit = chance.choice((0, 100, 1000, 10_000))
            else:
                limit = process.memory_info().vms + chance.randrange(40 << 20)
            process.rlimit(kind, (limit, process.rlimit(kind)[1]))
            limited_processes += process.rlimit(kind)[0] == limit and process.status() != psutil.STATUS_ZOMBIE
    names = {resource.RLIMIT_NOFILE: "open files", resource.RLIMIT_FSIZE: "file size", resource.RLIMIT_AS: "memory"}
    yield f"limit of {names[kind]}" if limited_processes else ""


class Clock:
    """A clock for the processes of a run that can jump; times of files stay those of the system."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler makes the library with which the clock can jump")
        folder.mkdir()
        self._library, self._offset = folder / "clock.so", folder / "offset"
        (folder / "clock.c").write_text(CLOCK)
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(folder / "clock.c"), "-ldl"]
        subprocess.run(command, check=True)
        self._offset.write_bytes(bytes(8))
        self._offset_s = 0

    @property
    def environment(self) -> dict[str, str]:
        """The variables of processes that have this clock."""
        return {"LD_PRELOAD": str(self._library), "CLOCK_OFFSET": str(self._offset)}

    def jump(self) -> None:
        """Sets the clock back by a day, or forward again if it is: at once and in all processes."""
        self._offset_s = 0 if self._offset_s else -DAY_S
        with self._offset.open("r+b") as file, mmap.mmap(file.fileno(), 8) as page:
            page[:] = self._offset_s.to_bytes(8, "little", signed=True)


def _call(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
