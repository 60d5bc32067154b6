"""Abstract classes, virtual subclasses, protocols, container mixins."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable


class Animal(ABC):
    @property
    @abstractmethod
    def sound(self): ...

    def speak(self):
        return f"{type(self).__name__} says {self.sound}"


class Dog(Animal):
    sound = "woof"


@Animal.register
class Robot: ...


@runtime_checkable
class Speaks(Protocol):
    def speak(self) -> str: ...


class Squares(Sequence):
    __len__ = lambda self: 5  # noqa: E731

    def __getitem__(self, index):
        return range(5)[index] ** 2


try:
    Animal()
except TypeError as error:
    print("abstract" in str(error), Dog().speak(), isinstance(iter([]), Iterator))
print(issubclass(Robot, Animal), isinstance(Robot(), Speaks), isinstance(Dog(), Speaks))
print(9 in Squares(), list(reversed(Squares())), Squares().index(4))
