"""Vectors for numba: so many numbers loaded, multiplied and stored together, and kept in registers in between.

A `Vector` has any number of lanes; LLVM makes of it as many of the machine's registers as it needs. Loops written with
vectors keep a row's sums in registers over all of the row's non-zeros, which plain numba loops do not. Nothing here is
checked: an index outside an array reads or writes there.
"""

from llvmlite import ir
from numba import from_dtype
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

_INT = ir.IntType(32)


class Vector(types.Type):
    """`lanes` numbers of the type `scalar` (float32 or float64)."""

    def __init__(self, scalar: types.Float, lanes: int):
        self.scalar, self.lanes = scalar, lanes
        super().__init__(f"Vector({scalar}, {lanes})")

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(ir.FloatType() if self.scalar is types.float32 else ir.DoubleType(), self.lanes)

    @property
    def bytes(self) -> ir.VectorType:
        return ir.VectorType(ir.IntType(8), self.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector: Vector):
        super().__init__(manager, vector, vector.llvm)


# --- pointers: unlike arrays, they are not reference-counted in inner loops -------------------------------------------


@intrinsic
def pointer(typing, array):
    """To the first number of a contiguous array."""

    def generate(context, builder, signature, args):
        return context.make_array(array)(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), generate


@intrinsic
def pointer_at(typing, address, like):
    """To numbers of the type of `like`, at an address in memory."""

    def generate(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_data_type(like).as_pointer())

    return types.CPointer(like)(address, like), generate


def pointers_to(dtype):
    """f(address): a pointer to records of this dtype."""
    record = from_dtype(dtype)

    @intrinsic
    def at(typing, address):
        def generate(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_data_type(record).as_pointer())

        return types.CPointer(record)(address), generate

    return at


@intrinsic
def shifted(typing, source, n):
    """A pointer `n` numbers on."""
    return source(source, n), _address


@intrinsic
def get(typing, source, index):
    """source[index]"""

    def generate(context, builder, signature, args):
        return context.unpack_value(builder, source.dtype, _address(context, builder, signature, args))

    return source.dtype(source, index), generate


@intrinsic
def put(typing, target, index, number):
    """target[index] = number"""

    def generate(context, builder, signature, args):
        value = context.cast(builder, args[2], number, target.dtype)
        context.pack_value(builder, target.dtype, value, _address(context, builder, signature, args))
        return context.get_dummy_value()

    return types.none(target, index, number), generate


def _address(context, builder, signature, args):
    return builder.gep(args[0], [context.cast(builder, args[1], signature.args[1], types.intp)])


# --- vectors in memory ------------------------------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def load(typing, source, first, lanes):
    """source[first : first + lanes]"""
    vector = Vector(source.dtype, lanes.literal_value)

    def generate(context, builder, signature, args):
        address = builder.bitcast(_address(context, builder, signature, args), vector.llvm.as_pointer())
        return _aligned(builder.load(address), source.dtype.bitwidth // 8)

    return vector(source, first, lanes), generate


@intrinsic
def store(typing, target, first, vector):
    """target[first : first + lanes] = vector"""

    def generate(context, builder, signature, args):
        address = builder.bitcast(_address(context, builder, signature, args), vector.llvm.as_pointer())
        _aligned(builder.store(args[2], address), target.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(target, first, vector), generate


@intrinsic(prefer_literal=True)
def load_apart(typing, source, first, apart, n):
    """16 numbers from each of source[first], source[first + apart], ...: n times, side by side."""
    part, n = Vector(source.dtype, 16), n.literal_value

    def generate(context, builder, signature, args):
        first, apart = (context.cast(builder, args[i], signature.args[i], types.intp) for i in (1, 2))
        parts = []
        for _ in range(n):
            address = builder.bitcast(builder.gep(args[0], [first]), part.llvm.as_pointer())
            parts.append(_aligned(builder.load(address), source.dtype.bitwidth // 8))
            first = builder.add(first, apart)
        while len(parts) > 1:
            lanes = _lanes(range(2 * parts[0].type.count))
            parts = [builder.shuffle_vector(*pair, lanes) for pair in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    return Vector(source.dtype, 16 * n)(source, first, apart, types.literal(n)), generate


@intrinsic
def store_apart(typing, target, first, apart, vector):
    """The way back: 16 lanes to each of target[first], target[first + apart], ..."""

    def generate(context, builder, signature, args):
        first, apart = (context.cast(builder, args[i], signature.args[i], types.intp) for i in (1, 2))
        for lane in range(0, vector.lanes, 16):
            part = builder.shuffle_vector(args[3], args[3], _lanes(range(lane, lane + 16)))
            address = builder.bitcast(builder.gep(args[0], [first]), part.type.as_pointer())
            _aligned(builder.store(part, address), target.dtype.bitwidth // 8)
            first = builder.add(first, apart)
        return context.get_dummy_value()

    return types.none(target, first, apart, vector), generate


@intrinsic
def transpose_block(typing, source, apart, target, to_apart):
    """target[i * to_apart + j] = source[j * apart + i], for i and j below 16.

    The 16 rows are interleaved with each other, the first half with the second, four times: each time the highest bit
    of a number's row becomes the lowest one of its column.
    """
    row = Vector(source.dtype, 16).llvm
    size = source.dtype.bitwidth // 8

    def generate(context, builder, signature, args):
        def address(start, apart, i):
            return builder.bitcast(builder.gep(start, [builder.mul(apart, apart.type(i))]), row.as_pointer())

        apart, to_apart = (context.cast(builder, args[i], signature.args[i], types.intp) for i in (1, 3))
        rows = [_aligned(builder.load(address(args[0], apart, i)), size) for i in range(16)]
        halves = [_lanes([lane + side for lane in range(first, first + 8) for side in (0, 16)]) for first in (0, 8)]
        for _ in range(4):
            rows = [builder.shuffle_vector(*pair, half) for pair in zip(rows[:8], rows[8:], strict=True)
                    for half in halves]  # fmt: skip
        for i, vector in enumerate(rows):
            _aligned(builder.store(vector, address(args[2], to_apart, i)), size)
        return context.get_dummy_value()

    return types.none(source, apart, target, to_apart), generate


@intrinsic
def load_bytes(typing, source, first, like):
    """uint8 source[first : first + lanes], as a vector of the type of `like`."""

    def generate(context, builder, signature, args):
        address = builder.bitcast(_address(context, builder, signature, args), like.bytes.as_pointer())
        return builder.uitofp(_aligned(builder.load(address), 1), like.llvm)

    return like(source, first, like), generate


@intrinsic
def store_bytes(typing, target, first, vector):
    """target[first : first + lanes] = vector, as uint8."""

    def generate(context, builder, signature, args):
        address = builder.bitcast(_address(context, builder, signature, args), vector.bytes.as_pointer())
        _aligned(builder.store(builder.fptoui(args[2], vector.bytes), address), 1)
        return context.get_dummy_value()

    return types.none(target, first, vector), generate


def _aligned(access, size: int):
    access.align = size
    return access


# --- arithmetic; a number in the place of a vector stands for as many of it as there are lanes ------------------------


@intrinsic(prefer_literal=True)
def splat(typing, number, lanes, like):
    """`lanes` times the same number, of the type that the pointer `like` points to."""
    vector = Vector(like.dtype, lanes.literal_value)

    def generate(context, builder, signature, args):
        return _wide(context, builder, args[0], signature.args[0], vector)

    return vector(number, lanes, like), generate


@intrinsic
def add(typing, a, b):
    """a + b"""
    return a(a, b), lambda context, builder, signature, args: builder.fadd(*args)


@intrinsic
def multiply_add(typing, a, b, c):
    """a * b + c, in one instruction where the machine has one."""

    def generate(context, builder, signature, args):
        product = builder.fmul(_wide(context, builder, args[0], a, c), args[1], flags=["contract"])
        return builder.fadd(product, args[2], flags=["contract"])

    return c(a, b, c), generate


@intrinsic(prefer_literal=True)
def every_second(typing, vector, first):
    """Of parts of 16 lanes, every second one, beginning with `first`: 0 or 1."""
    lanes = [lane for lane in range(vector.lanes) if lane // 16 % 2 == first.literal_value]

    def generate(context, builder, signature, args):
        return builder.shuffle_vector(args[0], args[0], _lanes(lanes))

    return Vector(vector.scalar, vector.lanes // 2)(vector, first), generate


@intrinsic
def products(typing, a, b):
    """a * b, of which lanes 16, 32, ... apart are added up: 16 sums."""
    narrow = Vector(a.scalar, 16)

    def generate(context, builder, signature, args):
        summed = None
        for first in range(0, a.lanes, 16):
            one, other = (builder.shuffle_vector(vector, vector, _lanes(range(first, first + 16))) for vector in args)
            product = builder.fmul(one, other, flags=["contract"])
            summed = builder.fadd(product, summed, flags=["contract"]) if summed else product
        return summed

    return narrow(a, b), generate


@intrinsic
def where_at_most(typing, a, b, then, otherwise):
    """Lane by lane: `then` where a <= b, `otherwise` elsewhere, and where one of them is NaN."""
    return _where("<=", a, b, then, otherwise)


@intrinsic
def where_above(typing, a, b, then, otherwise):
    """Lane by lane: `then` where a > b, or a is NaN; `otherwise` elsewhere."""
    return _where(">", a, b, then, otherwise, or_nan=True)


@intrinsic
def where_equal(typing, a, b, then, otherwise):
    """Lane by lane: `then` where a == b, `otherwise` elsewhere."""
    return _where("==", a, b, then, otherwise)


def _where(compare: str, vector, *others, or_nan: bool = False):
    def generate(context, builder, signature, args):
        pairs = zip(args, signature.args, strict=True)
        a, b, then, otherwise = (_wide(context, builder, number, kind, vector) for number, kind in pairs)
        true = builder.fcmp_ordered(compare, a, b)
        if or_nan:
            true = builder.or_(true, builder.fcmp_unordered("uno", a, a))
        return builder.select(true, then, otherwise)

    return vector(vector, *others), generate


@intrinsic
def total(typing, vector):
    """The sum of the lanes, in whatever order is fastest."""

    def generate(context, builder, signature, args):
        kind = vector.llvm
        name = f"llvm.vector.reduce.fadd.v{vector.lanes}f{vector.scalar.bitwidth}"
        reduce = ir.FunctionType(kind.element, [kind.element, kind])
        reduce = cgutils.get_or_insert_function(builder.module, reduce, name)
        return builder.call(reduce, [ir.Constant(kind.element, -0.0), args[0]], fastmath=["reassoc"])

    return vector.scalar(vector), generate


@intrinsic
def totals(typing, a, b, c, d):
    """The sums of the lanes of four vectors, as a vector of four: for fewer shuffles than four times `total`."""

    def generate(context, builder, signature, args):
        def folded(one, other, size):
            """The lower half of every `size` lanes of the two plus its upper half, side by side."""
            lanes = range(one.type.count if one is other else 2 * one.type.count)
            halves = [i for i in lanes if i % size < size // 2], [i for i in lanes if i % size >= size // 2]
            return builder.fadd(
                *(builder.shuffle_vector(one, other, _lanes(half)) for half in halves), flags=["reassoc"]
            )

        sums, size = folded(folded(*args[:2], a.lanes), folded(*args[2:], a.lanes), a.lanes // 2), a.lanes // 4
        while size > 1:
            sums, size = folded(sums, sums, size), size // 2
        return sums

    return Vector(a.scalar, 4)(a, b, c, d), generate


def _wide(context, builder, number, kind, vector: Vector):
    if isinstance(kind, Vector):
        return number
    undefined = ir.Constant(vector.llvm, ir.Undefined)
    one = builder.insert_element(undefined, context.cast(builder, number, kind, vector.scalar), _INT(0))
    return builder.shuffle_vector(one, undefined, _lanes([0] * vector.lanes))


def _lanes(numbers) -> ir.Constant:
    """Which lanes a shuffle takes."""
    return ir.Constant(ir.VectorType(_INT, len(numbers)), list(numbers))
