"""Subprocesses: captured, fed, failing, and one that inherits the streams."""

import subprocess
import sys

COUNT = "import sys; print(len(sys.stdin.read()), sys.argv[1:])"


def python(code, *args, **options):
    return subprocess.run([sys.executable, "-c", code, *args], text=True, **options)


result = python(COUNT, "x", input="four", capture_output=True)
print(result.returncode, result.stdout.strip(), repr(result.stderr))
print("inherited follows", flush=True)
python("print('from below'); import sys; print('and on stderr', file=sys.stderr)")
print("then again", flush=True)
try:
    python("raise SystemExit(3)", check=True)
except subprocess.CalledProcessError as error:
    print("failed with", error.returncode)
try:
    python("import time; time.sleep(60)", timeout=0.1)
except subprocess.TimeoutExpired as error:
    print("timed out", error.cmd[1])
with subprocess.Popen(["sort", "-r"], stdin=-1, stdout=-1, text=True) as sort:
    print(sort.communicate("b\nc\na\n")[0].split())
print(subprocess.check_output("echo $0 $((6 * 7)) | tr 4 5", shell=True))
print(subprocess.call(["false"]), subprocess.getstatusoutput("echo out; exit 4"))
