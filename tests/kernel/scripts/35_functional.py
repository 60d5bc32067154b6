"""functools, itertools, operator, collections, heapq and bisect."""

import bisect
import functools
import heapq
import itertools
import operator
from collections import ChainMap, Counter, defaultdict, deque


@functools.singledispatch
def show(value):
    return f"something {value!r}"


@show.register
def _(value: int):
    return f"int {value}"


@show.register(list | tuple)
def _(value):
    return [show(each) for each in value]


print(show((1, "two", [3.0])), functools.partial(int, base=2)("1011"))
print(functools.reduce(operator.mul, range(1, 11)), operator.itemgetter(1, 0)("ab"))
print([(key, len(list(run))) for key, run in itertools.groupby("aaabccd")])
print(list(itertools.accumulate([3, 1, 2], max)), list(itertools.pairwise("abc")))
print(list(itertools.zip_longest("ab", [1])), len(list(itertools.permutations("abcd"))))
print(Counter("mississippi").most_common(2), ChainMap({"a": 1}, {"a": 2})["a"])
heap = [5, 3, 8, 1]
heapq.heapify(heap)
print([heapq.heappop(heap) for _ in range(4)], list(heapq.merge([1, 4], [2, 3])))
sizes = [10, 20, 30]
bisect.insort(sizes, 25)
print(sizes, "SML"[bisect.bisect(sizes, 22) - 1], deque([1, 2, 3], maxlen=2))
groups = defaultdict(list)
groups["x"].append(2)
print(groups, "y" in groups)
