"""Small disks of our own under folders of the stack, so that they can be full."""

import errno
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

MEGABYTES = 512
FILLER = "filler"


@dataclass(frozen=True)
class Disk:
    """A tmpfs mounted at a folder."""

    folder: Path

    def fill(self) -> None:
        """Until nothing more fits."""
        room = os.statvfs(self.folder)
        size = room.f_bavail * room.f_frsize
        with (self.folder / FILLER).open("wb") as filler:
            while size:  # others write meanwhile
                try:
                    os.posix_fallocate(filler.fileno(), 0, size)
                    size = 0
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size -= room.f_frsize

    def free(self) -> None:
        """Remove what filled it."""
        (self.folder / FILLER).unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, capture_output=True)


def mount(folder: Path) -> Disk:
    """A small disk at the folder, which is made; PermissionError with why where one may not, or would hide a file."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise PermissionError(
            f"{folder} is not empty, and a small disk would hide what is there: take a fresh data dir"
        )
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=0755", "tmpfs", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        why = " ".join(done.stderr.split())
        raise PermissionError(f"a small disk could not be mounted ({why}): run it as root, where mounting is allowed")
    return Disk(folder)
