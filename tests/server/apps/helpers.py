def square(number):
    return number * number


def temporary_directory():
    import multiprocessing.util

    return multiprocessing.util.get_temp_dir()
