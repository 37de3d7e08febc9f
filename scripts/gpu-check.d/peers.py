"""The PyTorch peers: processes that prepare a step once and then run it when told to, so that runs can alternate."""

import json
import os
import queue
import subprocess
import threading
import time

import runner


class PeerFailure(Exception):
    pass


class OutOfMemory(PeerFailure):
    pass


class Peer:
    """bench/peers/torch_pretrain.py --serve with some arguments."""

    def __init__(self, label, resources, arguments, log):
        self.label, self._log = label, log
        script = os.path.join(resources.root, "bench", "peers", "torch_pretrain.py")
        command = runner.Command(
            label,
            [resources.python, script, "--serve", *arguments],
            0,
            # Compiling is most of the preparation; one worker a core, and nothing left in the user's home.
            resources.environment(
                TORCHINDUCTOR_CACHE_DIR=os.path.join(resources.work, "inductor"),
                TRITON_CACHE_DIR=os.path.join(resources.work, "triton"),
                PYTHONUNBUFFERED="1",
            ),
            resources.root,
        )
        self.ready = None
        self._lines = queue.Queue()
        try:
            self._process = runner.start(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log or subprocess.DEVNULL
            )
        except OSError as error:
            raise PeerFailure(f"{label}: {error}") from error
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in iter(self._process.stdout.readline, b""):
            text = line.decode("utf-8", "replace")
            if self._log is not None:
                try:
                    self._log.write(f"{self.label}: {text}")
                except ValueError:
                    pass
            if text.startswith("{"):
                self._lines.put(text)
        self._lines.put(None)

    def _next(self, timeout):
        try:
            line = self._lines.get(timeout=max(0.1, timeout))
        except queue.Empty:
            self.close()
            raise PeerFailure(f"{self.label}: no answer within {timeout:.0f} s") from None
        if line is None:
            code = self._process.wait()
            raise PeerFailure(f"{self.label}: ended with exit code {code}")
        answer = json.loads(line)
        if answer["event"] == "error":
            self.close()
            failure = OutOfMemory if answer["kind"] == "out-of-memory" else PeerFailure
            raise failure(f"{self.label}: {answer['kind']}: {answer['message']}")
        return answer

    def wait_ready(self, timeout):
        self.ready = self._next(timeout)
        return self.ready

    def run(self, steps, timeout):
        try:
            self._process.stdin.write(f"run {steps}\n".encode())
            self._process.stdin.flush()
        except (BrokenPipeError, OSError) as error:
            raise PeerFailure(f"{self.label}: {error}") from error
        return self._next(timeout)

    def close(self):
        runner.end(self._process, patience=2)
        runner.forget(self._process)


def prepare(peers, timeout):
    """Waits for peers that were started together; returns the ready ones and, by label, why others are not."""
    end = time.monotonic() + timeout
    ready, reasons = [], {}
    for peer in peers:
        try:
            peer.wait_ready(end - time.monotonic())
            ready.append(peer)
        except PeerFailure as failure:
            reasons[peer.label] = failure
    return ready, reasons
