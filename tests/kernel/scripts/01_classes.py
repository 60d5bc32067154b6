"""Classes: inheritance, properties, operators, class creation, in cells of a file."""

# %% An account


class Account:
    def __init_subclass__(cls, fee=0, **options):
        super().__init_subclass__(**options)
        cls.fee = fee
        print("subclass", cls.__qualname__, "of", cls.__module__, "fee", fee)

    def __init__(self, owner, balance=0):
        self.owner, self._balance = owner, balance

    @property
    def balance(self):
        return self._balance

    def __iadd__(self, amount):
        self._balance += amount - self.fee
        return self

    def __repr__(self):
        return f"{type(self).__name__}({self.owner!r}, {self._balance})"


# %% Another kind of it
class Saving(Account, fee=3):
    def __iadd__(self, amount):
        print("saving", amount)
        return super().__iadd__(amount)


# %% Used
account = Saving("Ada", 10)
account += 20
print(account, account.balance, [kind.__name__ for kind in Saving.__mro__])
try:
    account.balance = 3
except AttributeError as error:
    print(type(error).__name__, "balance" in str(error))
