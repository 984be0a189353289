"""Stores events in a table of SQLite, each once: the id of an event is the key of its row."""

import sqlite3

from aqueduct_plugin import Refuse, run


class Table:
    def __init__(self, settings):
        self.database = sqlite3.connect(settings["path"])
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS lines (id TEXT PRIMARY KEY, level TEXT, line TEXT)"
        )

    def deliver(self, events):
        outcomes = []
        with self.database:
            for event in events:
                try:
                    row = (event.id, event.headers.get("level"), event.body.decode())
                except UnicodeDecodeError:
                    outcomes.append(Refuse("the body is not UTF-8"))
                    continue
                self.database.execute("INSERT OR IGNORE INTO lines VALUES (?, ?, ?)", row)
                outcomes.append(None)
        return outcomes


run(Table)
