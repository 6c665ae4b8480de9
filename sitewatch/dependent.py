"""Runs a command as a dependent of its parent: it ends when the parent does, and it may run as another user.

Started by file name (`python -I -S dependent.py --parent PID [--user NAME] [--reach] -- command…`), so that it costs an
interpreter without site packages, about 15 ms, and then becomes the command. Its rules:

- On Linux the kernel sends the command `--signal` when the thread that started it ends (PR_SET_PDEATHSIG). Start it from
  a thread that lives as long as the program, or it ends too early. A parent that died before that was armed is noticed.
- `--user` gives up root. PostgreSQL refuses to run as root, for good reasons.
- `--reach` keeps one capability of root: to enter folders that belong to others (a home of root, a folder of pytest). It
  is asked for only where the command or its data would be out of reach otherwise.

Imports nothing of ours, and nothing outside the standard library: it runs before there is a path to import from.
"""

import argparse
import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
# Reading and entering is enough where it is granted. Docker's default set has only the wider one.
CAP_DAC_READ_SEARCH = 2
CAP_DAC_OVERRIDE = 1


def command(
    wanted: list[str], *, user: str | None = None, reach: bool = False, stop_signal: signal.Signals = signal.SIGTERM
) -> list[str]:
    """What to start in order to have `wanted` as a dependent of this process."""
    options = [*(["--user", user] if user else []), *(["--reach"] if reach else []), "--signal", str(int(stop_signal))]
    return [sys.executable, "-I", "-S", __file__, "--parent", str(os.getpid()), *options, "--", *wanted]


def main() -> None:
    """Does what the arguments say, then becomes the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--user")
    parser.add_argument("--reach", action="store_true")
    parser.add_argument("--signal", type=int, default=int(signal.SIGTERM))
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    if asked.user:
        give_up_root(asked.user, reach=asked.reach)
    # After the change of user, which clears it.
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, asked.signal)
    if os.getppid() != asked.parent:
        sys.exit("the parent ended before its child began")
    os.execvp(asked.command[0], asked.command)  # noqa: S606 the point of this program


def give_up_root(user: str, *, reach: bool) -> None:
    """Makes this process `user` for good, with the one capability to enter folders of others where `reach` is set."""
    account = pwd.getpwnam(user)
    if reach and sys.platform == "linux":
        _prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ["HOME"] = "/"
    if reach and sys.platform == "linux":
        _keep_only(CAP_DAC_READ_SEARCH if _may(CAP_DAC_READ_SEARCH) else CAP_DAC_OVERRIDE)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _may(capability: int) -> bool:
    sets = (_Sets * 2)()
    _libc().capget(ctypes.byref(_Header(CAPABILITY_VERSION_3, 0)), sets)
    return bool(sets[0].permitted & (1 << capability))


def _keep_only(capability: int) -> None:
    bit = 1 << capability
    sets = (_Sets * 2)(_Sets(bit, bit, bit), _Sets(0, 0, 0))
    if _libc().capset(ctypes.byref(_Header(CAPABILITY_VERSION_3, 0)), sets) != 0:
        raise OSError(ctypes.get_errno(), "capset refused")
    # Ambient, so that it survives the exec of a plain program.
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, first: int, second: int = 0) -> None:
    zero = ctypes.c_ulong(0)
    if _libc().prctl(option, ctypes.c_ulong(first), ctypes.c_ulong(second), zero, zero) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option} refused")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    main()
