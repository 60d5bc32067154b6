"""Logging: levels, handlers, formatters, filters, exceptions, the handler of last resort."""

import logging
import logging.config
import sys

logging.getLogger("early").warning("nobody configured me")

handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(logging.Formatter("{levelname:<8}{name} {funcName} {message}", style="{"))
handler.addFilter(lambda record: "secret" not in record.getMessage())
log = logging.getLogger("app.part")
log.addHandler(handler)
log.setLevel(logging.INFO)


def work(count):
    log.debug("not shown")
    log.info("working %d times", count)
    log.warning("a secret")
    try:
        [][count]
    except IndexError:
        log.exception("failed")


work(2)
logging.basicConfig(format="%(levelname)s:%(module)s:%(lineno)d: %(message)s", level="DEBUG")
log.error("twice, on both streams")
logging.config.dictConfig(
    {"version": 1, "incremental": True, "loggers": {"app.part": {"level": "ERROR"}}}
)
log.warning("too low now")
logging.getLogger("other").debug("%(a)s and %(b)03d", {"a": "one", "b": 2})
logging.info("the end")
