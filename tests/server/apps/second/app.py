def main(kernel):
    import shared_name

    kernel.send(shared_name.NAME.encode())
