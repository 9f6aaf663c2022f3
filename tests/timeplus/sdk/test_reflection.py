"""What SQLAlchemy learns of streams: names, columns and their types."""

import unittest

from place import ADDRESS, KEY, TENANT, Case, has

IS_THERE = has("timeplus.sqlalchemy")


def engine():
    from sqlalchemy import create_engine
    from sqlalchemy.dialects import registry
    from timeplus.sqlalchemy import TimeplusDialect

    registry.register("timeplus", "timeplus.sqlalchemy", "TimeplusDialect")
    TimeplusDialect.scheme = "http"
    return create_engine(f"timeplus://:{KEY}@{ADDRESS}/{TENANT}")


@unittest.skipUnless(IS_THERE, "this version has no SQLAlchemy dialect")
class Reflection(Case):
    def test_a_stream_is_a_table(self):
        from sqlalchemy import MetaData, Table, inspect, types
        from sqlalchemy.exc import NoSuchTableError
        from timeplus.error import Error

        stream = self.stream(("in_use", "bool"), ("speed", "float32"), ("cid", "nullable(string)"))
        about = inspect(engine())
        self.assertIn(stream._name, about.get_table_names())
        self.assertIn("metrics", about.get_table_names())
        self.assertEqual(about.get_view_names(), [])

        table = Table(stream._name, MetaData(), autoload_with=engine())
        self.assertEqual([c.name for c in table.columns], ["in_use", "speed", "cid", "_tp_time"])
        self.assertIsInstance(table.c.in_use.type, types.Boolean)
        self.assertIsInstance(table.c._tp_time.type, types.DateTime)
        self.assertEqual((table.c.speed.nullable, table.c.cid.nullable), (False, True))
        with self.assertRaises((NoSuchTableError, Error)):
            Table("none", MetaData(), autoload_with=engine())
