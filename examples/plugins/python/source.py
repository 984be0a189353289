"""Follows a file that grows. The position is the offset after the last line."""

import time

from aqueduct_plugin import Event, run


class Follow:
    def __init__(self, settings):
        self.path = settings["path"]

    def read(self, position):
        with open(self.path, "rb") as file:
            file.seek(int(position or 0))
            offset = file.tell()
            while True:
                line = file.readline()
                if not line.endswith(b"\n"):
                    # The end of the line is not written yet.
                    file.seek(offset)
                    time.sleep(0.1)
                    yield None
                    continue
                offset += len(line)
                yield Event(line.rstrip(b"\n"), {"file": self.path}), str(offset)


run(Follow)
