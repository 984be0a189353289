"""Reads a level from each line into the header `level`, and drops lines below `least`."""

from aqueduct_plugin import Refuse, run

LEVELS = ["DEBUG", "INFO", "WARN", "ERROR"]


class Levels:
    def __init__(self, settings):
        self.least = LEVELS.index(settings.get("least", "DEBUG"))

    def intercept(self, event):
        try:
            line = event.body.decode()
        except UnicodeDecodeError:
            raise Refuse("the body is not UTF-8")
        level = next((level for level in LEVELS if level in line), "INFO")
        if LEVELS.index(level) < self.least:
            return None
        event.headers["level"] = level
        return event


run(Levels)
