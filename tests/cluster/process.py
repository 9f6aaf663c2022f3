"""A program that runs beside this one: its output in a file, and its end."""

import subprocess
import time

PATIENCE = 30


def until(what, is_so, patience=PATIENCE):
    """Waits for a fact, and returns it; no fact within the patience is an error."""
    deadline = time.monotonic() + patience
    while True:
        fact = is_so()
        if fact:
            return fact
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience} s for {what}")
        time.sleep(0.02)


class Process:
    """What is started at once, and killed at the latest when whoever has it says `end`."""

    def __init__(self, name, argv, dir, env=None):
        self.name = name
        self.log = dir / f"{name}.log"
        self.out = dir / f"{name}.out"
        # A life after another goes on in the same files.
        with open(self.log, "ab") as log, open(self.out, "ab") as out:
            self.child = subprocess.Popen(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=env, start_new_session=True
            )

    @property
    def is_running(self):
        return self.child.poll() is None

    def kill(self):
        self.child.kill()
        self.child.wait()

    def term(self, patience=PATIENCE):
        """Asks it to leave, and waits until it has; its exit status is the result."""
        self.child.terminate()
        return self.child.wait(patience)

    def end(self):
        """The end, whatever state it is in."""
        if self.is_running:
            self.child.terminate()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()

    def said(self):
        return self.log.read_text(errors="replace")
