"""Dates, time zones, decimals, fractions, statistics, big and small numbers."""

import cmath
import math
import statistics
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal, DivisionByZero, getcontext, localcontext
from fractions import Fraction

start = datetime(2024, 2, 28, 23, 30, tzinfo=timezone(timedelta(hours=2), "two"))
print(start + timedelta(days=1, minutes=45), start.astimezone(UTC).isoformat())
print(date(2024, 12, 30).isocalendar(), (date(2025, 3, 1) - date(2024, 3, 1)).days)
print(f"{start:%A %d %B %Y, %H:%M %Z}", datetime.strptime("1/2/03", "%d/%m/%y").date())
print(repr(timedelta(seconds=-1)), timedelta(hours=1) / timedelta(minutes=7))
try:
    date(2023, 2, 29)
except ValueError as error:
    print(error)
print(Decimal("0.1") + Decimal("0.2"), Decimal("2.675").quantize(Decimal("0.01"), ROUND_HALF_UP))
with localcontext() as context:
    context.prec = 30
    print(Decimal(2).sqrt(), Decimal(1) / 7)
print(getcontext().prec)
try:
    Decimal(1) / 0
except DivisionByZero as error:
    print(type(error).__mro__[2].__name__)
print(Fraction("0.125") + Fraction(1, 3), Fraction(math.pi).limit_denominator(1000))
print(0.1 + 0.2, 2**100, -7 // 2, -7 % 3, round(2.5), float("inf") > 10**400, 1e-7)
print(math.isclose(0.1 + 0.2, 0.3), math.comb(50, 25), math.gcd(84, 36), cmath.sqrt(-4))
print(statistics.median([3, 1, 2]), statistics.stdev([1, 2, 3, 4]), (0.5).hex(), int("ff", 16))
print(f"{1234567.891:,.2f} {255:#x} {0.25:.1%} {3:+05d}", divmod(17, 5), (1 << 70).bit_length())
