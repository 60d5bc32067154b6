"""Pickling of classes, functions and instances that the script defines."""

import copy
import pickle


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return (self.x, self.y) == (other.x, other.y)

    __hash__ = None

    class Inner: ...


class Sealed:
    def __reduce__(self):
        return make_sealed, ("broken seal",)


def make_sealed(word):
    print("made again:", word)
    return Sealed()


for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
    data = pickle.dumps([Point(1, protocol), Point, Point.Inner, make_sealed], protocol)
    point, *others = pickle.loads(data)
    print(point == Point(1, protocol), others == [Point, Point.Inner, make_sealed])
print(b"__main__" in pickle.dumps(Point), type(pickle.loads(pickle.dumps(Sealed()))).__name__)
print(copy.deepcopy([Point(3, 4)])[0].y)
try:
    pickle.dumps(lambda: None)
except (pickle.PicklingError, AttributeError) as error:
    print("lambda" in str(error))
