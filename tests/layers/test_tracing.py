"""What looks into a network (tracing, compiling, exporting) sees operations that it knows."""

import io

import pytest
import torch
from torch import nn

from dst_tutorial import RigL, SlideCNN, SparseLinear, mlp, sparsify, to_masked
from dst_tutorial.training import Adam


def networks():
    torch.manual_seed(0)
    return [
        (sparsify(SlideCNN((3, 4), (20,), 8), 0.5, kind="sparse"), torch.randn(3, 1, 8, 8)),
        (nn.Sequential(nn.Linear(5, 6), SparseLinear(6, 7, density=0.4, relu=True)), torch.randn(4, 5)),
    ]


@pytest.mark.parametrize(("model", "x"), networks())
def test_a_trace_is_the_network_for_other_batches_too(device, model, x):
    model, x = model.to(device), x.to(device)
    traced = torch.jit.trace(model, x)
    for images in (x, torch.cat([x, -x]), x[:1]):
        torch.testing.assert_close(traced(images), model(images))


@pytest.mark.parametrize("fullgraph", [False, True])
@pytest.mark.parametrize(("model", "x"), networks())
def test_a_compiled_network_is_the_network(device, model, x, fullgraph):
    model, x = model.to(device).double(), x.to(device).double()  # in float32 sums differ by more on some machines
    torch._dynamo.reset()
    compiled, found = torch.compile(model, backend="aot_eager", fullgraph=fullgraph), []
    for one in (compiled, model):
        y = one(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), list(model.parameters()))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("model", "x"), networks())
def test_an_exported_program_is_the_network(model, x):
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))


@pytest.mark.parametrize("kind", ["masked", "sparse"])
def test_a_compiled_network_trains_and_moves_as_the_network(kind):
    found = []
    for compiled in (False, True):
        torch._dynamo.reset()
        torch.manual_seed(0)
        model = sparsify(mlp(12, 20, 5), 0.7, kind=kind)
        engine = RigL(model, Adam(model.parameters(), lr=0.01), update_interval=3, duration=20)
        network = torch.compile(model, backend="aot_eager") if compiled else model
        for step in range(7):
            engine.optimizer.zero_grad()
            x = torch.randn(9, 12, generator=torch.Generator().manual_seed(step))
            network(x).square().sum().backward()
            engine.step()
        found.append([model.fc1.active_positions(), model.fc2.active_positions(), model.fc1.active_values()])
        assert engine.updates == 2
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("model", "x"), networks())
def test_an_export_to_onnx_names_the_way_and_the_way_works(model, x):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    with pytest.raises(RuntimeError, match=r"export to_masked\(model\)"):
        torch.onnx.export(model, (x,), io.BytesIO(), dynamo=False)
    file = io.BytesIO()
    torch.onnx.export(to_masked(model).eval(), (x,), file, dynamo=False)
    session = runtime.InferenceSession(file.getvalue())
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), model(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32, torch.float16])
def test_what_is_refused_is_refused_compiled_and_traced_too(dtype):
    layer, x = SparseLinear(5, 4, density=0.5), torch.ones(2, 5)
    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"must be torch.float32"):
        torch.compile(layer, backend="eager")(x.to(dtype))
    with pytest.raises(RuntimeError, match=r"must be torch.float32"):
        torch.jit.trace(layer, x.to(dtype))
