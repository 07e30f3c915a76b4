"""What threads say to each other, for numba: numbers that several may change, and calls of compiled functions."""

import platform

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_INT = ir.IntType(64)
_ORDER = "seq_cst"  # what was written before is seen by whoever sees the change
_PAUSE = {"x86_64": "llvm.x86.sse2.pause", "AMD64": "llvm.x86.sse2.pause"}.get(platform.machine())


@intrinsic
def fetch_add(typing, address, n):
    """Adds n to the number at an address; what it was before."""

    def generate(context, builder, signature, args):
        return builder.atomic_rmw("add", _number(builder, args[0]), args[1], _ORDER)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def read(typing, address):
    """The number at an address, which others change."""

    def generate(context, builder, signature, args):
        return builder.load_atomic(_number(builder, args[0]), _ORDER, 8)

    return types.int64(types.int64), generate


@intrinsic
def publish(typing, address, n):
    """The number at an address becomes n, after all that was written before."""

    def generate(context, builder, signature, args):
        builder.store_atomic(args[1], _number(builder, args[0]), _ORDER, 8)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), generate


@intrinsic
def pause(typing):
    """For a moment nothing, which leaves the core to others where it has two threads."""

    def generate(context, builder, signature, args):
        if _PAUSE:
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, _PAUSE), [])
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def call_at(typing, function, call, phase, part):
    """The function at an address, of three numbers."""

    def generate(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [_INT] * 3)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.none(*[types.int64] * 4), generate


def _number(builder, address):
    return builder.inttoptr(address, _INT.as_pointer())
