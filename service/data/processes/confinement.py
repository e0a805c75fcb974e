"""Sandbox of a child process (Landlock, no_new_privs): no other files, programs, TCP connections or signals.

Linux only, since 5.13; elsewhere there are the resource limits of `runner.py` and DuckDB's own sandbox.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_SET_NO_NEW_PRIVILEGES = 38  # of prctl
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls, by the same number on every machine
_GET_VERSION, _PATH_BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_RIGHTS_BY_VERSION = (0, 13, 14, 15, 15, 16)
"""Number of file access rights by Landlock version, each a bit."""
_TCP_VERSION, _SCOPE_VERSION = 4, 6
_BIND_AND_CONNECT, _SOCKETS_AND_SIGNALS = 3, 3

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/etc/ld.so.cache", "/etc/localtime")
_NETWORK = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services"),
    *("/run/systemd/resolve", "/etc/ssl", "/etc/pki", "/etc/ca-certificates"),
)
"""Files with which names are resolved and certificates verified."""
_KERNEL = ("/dev/urandom", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system", "/sys/fs/cgroup")


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("handle", ctypes.c_int32)]


def confine(readable: Iterable[Path], writable: Iterable[Path], *, network: bool = False) -> int:
    """Restrict this process: it may read `readable` and the files of Python and the system, read and write the folders
    `writable`, and open nothing else; it cannot start programs, signal other processes or, without `network`, open TCP
    connections.

    Returns the Landlock version; 0 if the kernel has none, and then only new privileges are ruled out.
    """
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.prctl(_SET_NO_NEW_PRIVILEGES, *map(ctypes.c_ulong, (1, 0, 0, 0))))
    version = landlock_version()
    if version:
        files = (1 << _RIGHTS_BY_VERSION[min(version, len(_RIGHTS_BY_VERSION) - 1)]) - 1
        ruleset = _ruleset(libc, version, files, 0 if network else _BIND_AND_CONNECT)
        system = _SYSTEM + _KERNEL + (_NETWORK if network else ())
        _allow(libc, ruleset, [*_own_files(), *map(Path, system), *readable], _READ_FILE | _READ_DIR)
        _allow(libc, ruleset, [Path(os.devnull)], _READ_FILE | _WRITE_FILE)
        _allow(libc, ruleset, writable, files & ~_EXECUTE)
        _checked(libc.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
        os.close(ruleset)
    return version


def landlock_version() -> int:
    """The Landlock version of this kernel; 0: none, or forbidden by the container runtime."""
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_GET_VERSION))))


def _ruleset(libc: ctypes.CDLL, version: int, files: int, tcp: int) -> int:
    """The file descriptor of a new ruleset; old kernels refuse longer structures than they know."""
    asked = _Ruleset(files, tcp, _SOCKETS_AND_SIGNALS)
    size = 24 if version >= _SCOPE_VERSION else 16 if version >= _TCP_VERSION else 8
    return _checked(libc.syscall(_CREATE_RULESET, ctypes.byref(asked), ctypes.c_size_t(size), ctypes.c_uint32(0)))


def _allow(libc: ctypes.CDLL, ruleset: int, paths: Iterable[Path], rights: int) -> None:
    """Allow `rights` on these files, and on everything below these folders; missing ones are skipped."""
    for path in paths:
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            rule = _PathBeneath(rights if path.is_dir() else rights & ~_READ_DIR, handle)
            arguments = (ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
            _checked(libc.syscall(_ADD_RULE, *arguments))
        finally:
            os.close(handle)


def _own_files() -> list[Path]:
    """Folders of Python and its libraries."""
    return [Path(path) for path in {sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path} if path]


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"this process could not give up its rights: {os.strerror(number)}")
    return result
