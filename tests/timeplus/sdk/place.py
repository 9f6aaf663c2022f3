"""Where the server is, and what the tests have in common: the packages are the published ones, unchanged.

`scripts/timeplus-tests` sets TRIWIRE_ADDRESS (address:port of a listener of HTTP/1.1) and TRIWIRE_KEY.
"""

import contextlib
import io
import itertools
import json
import os
import signal
import unittest
import urllib.request

from timeplus import Environment, Stream

ADDRESS = os.environ["TRIWIRE_ADDRESS"]
KEY = os.environ["TRIWIRE_KEY"]
TENANT = "tenant"

# How long a test may take, in seconds: the packages wait for an answer without end.
PATIENCE = 30

NAMES = (f"s{number}" for number in itertools.count())


def environment(key=KEY):
    return Environment().address(f"http://{ADDRESS}").workspace(TENANT).apikey(key)


class Case(unittest.TestCase):
    """A test that ends, and that leaves no stream behind."""

    def setUp(self):
        signal.signal(signal.SIGALRM, self.too_long)
        signal.alarm(PATIENCE)
        self.addCleanup(signal.alarm, 0)
        self.env = environment()

    def too_long(self, *_):
        raise TimeoutError(f"{self.id()} takes longer than {PATIENCE} s")

    def stream(self, *columns):
        """A new stream; `columns` are pairs of a name and a type."""
        stream = Stream(env=self.env).name(f"{self.__class__.__name__}_{next(NAMES)}")
        for column in columns:
            stream.column(*column)
        stream.create()
        self.addCleanup(self.forget, stream)
        return stream

    def forget(self, stream):
        with contextlib.suppress(Exception):
            stream.delete()

    @contextlib.contextmanager
    def refused(self, status, part):
        """What the packages raise of a refusal, which they also print."""
        from swagger_client.rest import ApiException

        with contextlib.redirect_stdout(io.StringIO()), self.assertRaises(ApiException) as raised:
            yield
        error = json.loads(raised.exception.body)
        self.assertEqual(raised.exception.status, status)
        self.assertEqual(set(error), {"code", "message", "system"})
        self.assertEqual(error["code"], status)
        self.assertIn(part, error["message"])


def rows_of(stream):
    """The rows of a stream as they are in the log, past the packages."""
    url = f"http://{ADDRESS}/poll?topic={stream._name}&after=0-0&timeout=1"
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return [event["data"] for event in json.load(answer)["events"]]


def has(module):
    """Whether this version of the package has a module."""
    try:
        __import__(module)
    except ImportError:
        return False
    return True
