"""The package's DB API (PEP 249) and its SQLAlchemy dialect, reading stored and live rows."""

import unittest

from place import ADDRESS, KEY, TENANT, Case, has
from test_reflection import engine

COLUMNS = ["in_use", "speed"]
ROWS = [[True, 73.85], [False, 77.1], [True, 80.0]]
HEADER = (("in_use", "bool"), ("speed", "float64"))


@unittest.skipUnless(has("timeplus.dbapi"), "this version has no DB API")
class DbApi(Case):
    def connection(self):
        from timeplus.dbapi import connect

        host, port = ADDRESS.rsplit(":", 1)
        connection = connect(host=host, port=port, scheme="http", password=KEY, path=TENANT)
        self.addCleanup(connection.close)
        return connection

    def test_stored_rows(self):
        stream = self.stream(*HEADER)
        stream.ingest(COLUMNS, ROWS)
        sql = f"select in_use, speed from table({stream._name}) where speed > %(least)s"
        cursor = self.connection().execute(sql, {"least": 75})
        self.assertEqual([column[:2] for column in cursor.description], list(HEADER))
        self.assertEqual([list(row) for row in cursor.fetchall()], ROWS[1:])
        self.assertIsNone(cursor.fetchone())

    def test_live_rows(self):
        stream = self.stream(*HEADER)
        cursor = self.connection().execute(f"select in_use, speed from {stream._name}")
        stream.ingest(COLUMNS, ROWS)
        self.assertEqual(list(cursor.fetchone()), ROWS[0])
        self.assertEqual([list(row) for row in cursor.fetchmany(2)], ROWS[1:])


@unittest.skipUnless(has("timeplus.sqlalchemy"), "this version has no SQLAlchemy dialect")
class SqlAlchemy(Case):
    def test_stored_rows(self):
        from sqlalchemy import text

        stream = self.stream(*HEADER)
        stream.ingest(COLUMNS, ROWS)
        with engine().connect() as connection:
            sql = f"select in_use, speed from table({stream._name}) order by speed"
            rows = connection.execute(text(sql)).fetchall()
        self.assertEqual([list(row) for row in rows], ROWS)

    def test_live_rows_of_a_reflected_table(self):
        from sqlalchemy import MetaData, Table, select

        stream = self.stream(*HEADER)
        table = Table(stream._name, MetaData(), autoload_with=engine())
        fast = select(table.c.in_use, table.c.speed).where(table.c.speed > 75)
        with engine().connect() as connection:
            result = connection.execute(fast)
            stream.ingest(COLUMNS, ROWS)
            rows = [list(result.fetchone()), list(result.fetchone())]
            result.close()
        self.assertEqual(rows, ROWS[1:])
