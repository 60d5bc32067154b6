"""An exception that nobody catches, raised while another was handled: exit code 1."""

import atexit


class ShopError(Exception):
    """An error with a text of its own."""

    def __init__(self, code, **details):
        super().__init__(code, details)
        self.add_note("see the manual")

    def __str__(self):
        return "code {}: {}".format(*self.args)


def sell(stock, what):
    try:
        stock[what] -= 1
    except KeyError:
        raise ShopError(7, missing=what)  # noqa: B904 (so the context shows)


def open_shop():
    stock = {"bread": 2}
    for what in ("bread", "cake"):
        sell(stock, what)
        print("sold", what)


atexit.register(print, "the shop is closed")
try:
    open_shop()
except ShopError as error:
    raise SystemError("out of business") from error
print("never")
