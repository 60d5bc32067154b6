"""Answers every message with itself."""


def main(kernel):
    for message in kernel:
        kernel.send(message.payload)
