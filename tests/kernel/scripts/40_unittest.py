"""Tests of the script, found by their loader in __main__."""

# ruff: noqa: PT009
import io
import re
import unittest
from unittest import mock


def total(prices, rate=None):
    return sum(prices) * (1 + (rate or ask_rate()))


def ask_rate():
    raise OSError("no network")


class TotalTest(unittest.TestCase):
    @mock.patch(f"{__name__}.ask_rate", return_value=0.5)
    def test_asks(self, ask):
        self.assertEqual(total([1, 2]), 4.5)
        ask.assert_called_once_with()

    def test_fails(self):
        for rate in (1, 2):
            with self.subTest(rate=rate):
                self.assertEqual(total([1, 2], rate), 6)

    @unittest.skip("not today")
    def test_skipped(self): ...


if __name__ == "__main__":
    stream = io.StringIO()
    runner = unittest.TextTestRunner(stream=stream, verbosity=2)
    program = unittest.main(argv=["tests"], testRunner=runner, exit=False)
    print(re.sub(r"in [\d.]+s", "in no time", stream.getvalue()))
    print(program.result.testsRun, program.result.wasSuccessful())
