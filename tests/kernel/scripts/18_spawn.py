"""multiprocessing by spawn: the child imports the script again, under another name."""

import multiprocessing

print("reading", __name__, flush=True)


class Job:
    def __init__(self, number):
        self.number = number

    def run(self):
        return self.number * 2


def work(pipe, job):
    pipe.send((type(job).__module__, __name__, job.run(), set_in_main))
    pipe.close()


set_in_main = False

if __name__ == "__main__":
    set_in_main = True
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, Job(21)))
    process.start()
    theirs.close()
    print(ours.recv())
    process.join()
    print("exit code", process.exitcode)
