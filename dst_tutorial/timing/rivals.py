"""Every way that we know of to compute and to train one sparse network: ours and the others'.

All start from the same masked network. A method makes of it a function of the inputs; where that is a module whose
parameters can be trained to the same effect, the method trains, too.
"""

import copy
import io
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from ..choices import choose
from ..kernels import BACKENDS, CSR, LIBRARY, REFERENCE, Backend
from ..layers import sparse_layers, to_dense, to_truly_sparse
from ..training import Adam
from .clock import take_turns


class Absent(Exception):
    """A method that cannot run here, and why."""


@dataclass(frozen=True)
class Rival:
    """A method, ready to run."""

    method: str
    device: str  # of its inputs and outputs
    run: Callable[[Tensor], Tensor] = field(repr=False)  # inputs -> outputs, both on `device`


# --- a masked network on its device, an example of its inputs, threads -> a function that computes it ----------------


def masked(model: nn.Module, inputs: Tensor, threads: int) -> nn.Module:
    return copy.deepcopy(model)


def dense(model: nn.Module, inputs: Tensor, threads: int) -> nn.Module:
    """It trains every weight: more work, and the cheaper step of the two dense ones."""
    return to_dense(model)


def compiled(make: Callable, model: nn.Module, inputs: Tensor, threads: int) -> nn.Module:
    """What torch's compiler makes of a form; it needs a C++ compiler (on a GPU, Triton)."""
    torch.compiler.reset()
    try:
        form = torch.compile(make(model, inputs, threads))
        with torch.no_grad():
            form(inputs)
    except Exception as error:
        raise Absent(f"torch.compile fails here: {type(error).__name__}, {str(error).splitlines()[0]}") from error
    return form


def onnx_runtime(model: nn.Module, inputs: Tensor, threads: int) -> Callable:
    """The dense network in ONNX Runtime: what dense kernels can do without torch's overhead."""
    import onnx  # noqa: F401  torch's exporter wants it
    from onnxruntime import InferenceSession, SessionOptions

    file, options = io.BytesIO(), SessionOptions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have its newer exporter used: 10 s for the same graph
        torch.onnx.export(to_dense(model), (inputs,), file, dynamo=False)
    options.intra_op_num_threads = threads
    session = InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def torch_csr(model: nn.Module, inputs: Tensor, threads: int) -> nn.Module:
    return _with_backend(to_truly_sparse(model), LIBRARY)


def with_matrices(build: Callable[[CSR], object], multiply: Callable, model: nn.Module, inputs: Tensor,
                  threads: int) -> nn.Module:  # fmt: skip
    """The truly sparse layers with another library's matrices, each built once: for inference."""
    matrices: dict[Tensor, object] = {}

    def product(weight: CSR, x: Tensor) -> Tensor:
        if weight.values not in matrices:
            matrices[weight.values] = build(weight._replace(values=weight.values.detach()))
        return multiply(matrices[weight.values], x)

    return _with_backend(to_truly_sparse(model), partial(REFERENCE, product=product))


def _scipy(weight: CSR) -> csr_matrix:
    parts = (part.numpy() for part in (weight.values, weight.columns, weight.row_pointers))
    return csr_matrix(tuple(parts), weight.shape)


def _torch(weight: CSR) -> Tensor:
    parts = weight.row_pointers, weight.columns, weight.values
    return torch.sparse_csr_tensor(*parts, size=weight.shape, check_invariants=False)


def _blocks(weight: CSR) -> Tensor:
    """Square blocks of 4, or of 2 or 1 where the shape asks for it: any that holds a weight is stored whole."""
    size = next(b for b in (4, 2, 1) if not weight.shape[0] % b + weight.shape[1] % b)
    return _torch(weight).to_sparse_bsr((size, size))


def sparseprop(model: nn.Module, inputs: Tensor, threads: int) -> nn.Module:
    """SparseProp's layers (Nikdan et al., arXiv 2302.04852), the faster of the two kinds that its convolutions have.

    Of those that are right: in its version 0.1.14 one is not, where the batch does not fill its vectors.
    """
    from sparseprop.modules import SparseConv2d, SparseLinear

    def form(over_samples: bool) -> nn.Module:
        options = {"vectorizing_over_on": over_samples}
        forms = {nn.Conv2d: partial(SparseConv2d.from_dense, **options), nn.Linear: SparseLinear.from_dense}
        return _with_layers(model, forms)

    with torch.no_grad():
        expected = to_dense(model)(inputs)
        right = [kind for kind in (True, False) if torch.allclose(form(kind)(inputs), expected, atol=1e-4)]
    if not right:
        raise Absent("its outputs are wrong for these inputs")
    times = take_turns([partial(forward_and_backward, form(kind), inputs) for kind in right], 3, threads)
    return form(min(zip(times, right, strict=True), key=lambda timed: min(timed[0]))[1])


def sparselab(model: nn.Module, inputs: Tensor, threads: int) -> nn.Module:
    """SparseLab's linear layers (PyPI `sparselab`); it has no convolution, so that these stay dense."""
    from sparselab import SparseLinear, layout

    def form(linear: nn.Linear) -> nn.Module:
        layer = SparseLinear(linear.in_features, linear.out_features, linear.bias is not None)
        layer._csr = layout.from_dense(linear.weight.detach())  # it has no public way to be given a mask
        layer._values = nn.Parameter(torch.from_numpy(np.asarray(layer._csr.values)))
        layer.bias = linear.bias
        return layer

    return _with_layers(model, {nn.Linear: form})


def truly_sparse(model: nn.Module, inputs: Tensor, threads: int) -> nn.Module:
    """The fastest backend there is here."""
    return to_truly_sparse(model)


def in_triton(model: nn.Module, inputs: Tensor, threads: int) -> nn.Module:
    form = _with_backend(to_truly_sparse(model), BACKENDS["triton"]())
    try:
        form(inputs).sum().backward()
    except Exception as error:  # no C compiler, say
        raise Absent(f"Triton fails here: {type(error).__name__}, {str(error).splitlines()[0]}") from error
    form.zero_grad()
    return form


def _with_backend(model: nn.Module, backend: Backend) -> nn.Module:
    for layer in sparse_layers(model).values():
        layer.backend = backend
    return model


def _with_layers(model: nn.Module, forms: Mapping[type, Callable[[nn.Module], nn.Module]]) -> nn.Module:
    """The dense network with another library's layers where the masked ones were."""
    network = to_dense(model)
    for name in sparse_layers(model):
        layer = network.get_submodule(name)
        if type(layer) in forms:
            network.set_submodule(name, forms[type(layer)](layer))
    return network


def forward_and_backward(network: nn.Module, inputs: Tensor) -> None:
    network(inputs).sum().backward()


def captured(make: Callable, model: nn.Module, inputs: Tensor, threads: int) -> Callable[[Tensor], Tensor]:
    """A form as one CUDA graph: where launching kernels takes longer than running them, it shows what they take."""
    run, inside = make(model, inputs, threads), inputs.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.inference_mode():  # a capture must not be the first call
        for _ in range(3):
            run(inside)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.inference_mode():
        outside = run(inside)

    def replay(x: Tensor) -> Tensor:
        inside.copy_(x)
        graph.replay()
        return outside.clone()

    return replay


# --- all of them ------------------------------------------------------------------------------------------------------


def fused_adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """torch's fastest."""
    return torch.optim.Adam(parameters, fused=True)


@dataclass(frozen=True)
class Method:
    """How to make a rival. `make(masked network on its device, an example of its inputs, threads)`."""

    make: Callable[[nn.Module, Tensor, int], Callable[[Tensor], Tensor]]
    trains: bool = False
    trains_zeros: bool = False  # the zeros among its weights, too: its first loss is that of the others
    devices: tuple[str, ...] = ("cpu",)
    optimizer: Callable[..., torch.optim.Optimizer] = fused_adam
    install: str | None = None  # how the package that it is of is installed
    optional: bool = False  # the tutorial does not need that package: `bench` names it where it is wrong


_BOTH, _GPU = ("cpu", "cuda"), ("cuda",)
METHODS: dict[str, Method] = {
    "Dense+Mask": Method(masked, True, False, _BOTH),
    "dense": Method(dense, True, True, _BOTH),
    "Dense+Mask, compiled": Method(partial(compiled, masked), True, False, _BOTH),
    "dense, compiled": Method(partial(compiled, dense), True, True, _BOTH),
    "ONNX Runtime, dense": Method(onnx_runtime, install="`pip install onnx onnxruntime`"),
    "scipy CSR": Method(partial(with_matrices, _scipy, lambda matrix, x: torch.from_numpy(matrix @ x.numpy()))),
    "torch COO": Method(
        partial(with_matrices, lambda weight: _torch(weight).to_sparse_coo(), torch.matmul), devices=_BOTH
    ),
    "torch CSR": Method(torch_csr, True, False, _BOTH),
    "torch BSR, blocks of 4 x 4": Method(partial(with_matrices, _blocks, torch.matmul), devices=_BOTH),
    "SparseProp": Method(sparseprop, True, install="`pip install pybind11 sparseprop` (it compiles)", optional=True),
    "SparseLab, convolutions dense": Method(sparselab, True, True, install="`pip install sparselab`", optional=True),
    "truly sparse": Method(truly_sparse, True, False, _BOTH, Adam),
    "truly sparse, Triton": Method(in_triton, True, False, _GPU, Adam, install="`pip install triton`"),
    **{
        f"{name}, CUDA graph": Method(partial(captured, make), devices=_GPU)
        for name, make in (
            ("Dense+Mask", masked),
            ("dense", dense),
            ("torch CSR", torch_csr),
            ("truly sparse, Triton", in_triton),
        )
    },
}


def rivals(
    model: nn.Module, inputs: Tensor, *, device: str = "cpu", threads: int = 1, methods: Iterable[str] | None = None
) -> tuple[list[Rival], dict[str, str]]:
    """The rivals for a masked `model` on `device`, and those that are absent: method -> the reason.

    `model` is left alone. `inputs` are an example of what they will be given. All methods that run on the device,
    unless `methods` names some; ValueError for an unknown one.
    """
    chosen = {name: choose(name, METHODS, "method") for name in methods or METHODS}
    model, inputs = copy.deepcopy(model).to(device).eval(), inputs.to(device)
    present, absent = [], {}
    for name, method in chosen.items():
        if device not in method.devices:
            continue
        try:
            present.append(Rival(name, device, method.make(model, inputs, threads)))
        except Absent as why:
            absent[name] = str(why)
        except ImportError as error:
            absent[name] = f"{error.name or error} is not installed: {method.install}"
    return present, absent
