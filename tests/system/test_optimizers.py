"""Adam without torch's compiler, and the compiler where it is used afterwards. Each in a process of
its own, as the compiler is imported once.
"""

import subprocess
import sys

import torch

from lib.system.optimizers import Adam
from lib.system.paths import ROOT

STEPS = """
import sys
import torch
from lib.system.optimizers import Adam

p = torch.nn.Parameter(torch.ones(3))
optimizer = Adam([p], lr=0.1, fused=True)
for _ in range(3):
    optimizer.zero_grad()
    p.square().sum().backward()
    optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
"""


def run(code):
    command = [sys.executable, "-P", "-c", STEPS + code]
    ended = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_an_optimizer_imports_no_compiler():
    assert run("print('sympy' in sys.modules)") == "False"


def test_who_looks_at_all_modules_imports_no_compiler():
    look = "import inspect; inspect.getmodule(inspect.currentframe());"
    look += "found = [hasattr(m, '__file__') for m in list(sys.modules.values())];"
    assert run(f"{look} print('sympy' in sys.modules)") == "False"


def test_other_parts_of_torch_work_without_it_and_bring_it():
    close = "torch.testing.assert_close(p, p); print('closed')"
    assert run(close) == "closed"
    assert run("import torch.distributed.fsdp as f; print(f.__name__)") == "torch.distributed.fsdp"


def test_the_compiler_is_there_where_it_is_used():
    compiled = "f = torch.compile(lambda x: 2 * x, backend='eager'); print(f(torch.ones(1)).item(),"
    assert run(f"{compiled} 'sympy' in sys.modules, torch._dynamo.__name__)") == (
        "2.0 True torch._dynamo"
    )
    assert run("import torch._dynamo.config as c; print(c.__name__)") == "torch._dynamo.config"
    assert run("from torch._dynamo import allow_in_graph; print(allow_in_graph.__name__)") == (
        "allow_in_graph"
    )


def test_it_is_the_adam_of_torch():
    weights = []
    for kind in (Adam, torch.optim.Adam):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 5))
        optimizer = kind([p], lr=0.1, betas=(0.9, 0.99), fused=True)
        for _ in range(5):
            optimizer.zero_grad()
            p.square().sum().backward()
            optimizer.step()
        weights.append(p.detach())
    assert torch.equal(*weights)
