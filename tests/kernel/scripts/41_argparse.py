"""A command line that is wrong: usage and reason on stderr, exit code 2."""

import argparse
import contextlib
import io


def parser():
    main = argparse.ArgumentParser(description=__doc__, epilog="That is all.")
    main.add_argument("words", nargs="+", help="what to say")
    main.add_argument("-n", "--times", type=int, default=1, metavar="N")
    main.add_argument("--mode", choices=["loud", "quiet"], default="quiet")
    main.add_argument("--version", action="version", version="%(prog)s 1.0")
    return main


options = parser().parse_args()
print(options)
print(parser().parse_args(["x", "-n3", "--mode=loud"]))
print(parser().format_usage(), end="")
for arguments in (["--version"], ["--help"]):
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            parser().parse_args(arguments)
    except SystemExit as error:
        print(arguments, error.code, text.getvalue().splitlines()[0])
try:
    parser().parse_args([])
except SystemExit as error:
    print("first exit:", error.code)
parser().parse_args(["word", "--times", "many"])
print("never")
