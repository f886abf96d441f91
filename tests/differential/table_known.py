# ruff: noqa: E501 -- a line for each difference
"""Where results differ from MLX's on purpose: calls (patterns of their texts) and reasons. One place for all.

Every call that a pattern matches differs: the tests fail for one that does not.
"""

from __future__ import annotations

_WHOLE = r"(bool_|u?int\d+)"
_UNSIGNED = r"uint\d+"
_SIGNED = r"int\d+"
_LARGE = "(u?int32|u?int64)"
_MATRIX = r"F\(X\((2, 3|3, 2|3, 1, 5|5, 1, 3|2, 7|4, 3)\)[^=]*"

KNOWN: dict[str, str] = {
    # --- MLX's results are wrong, or depend on what C++ leaves undefined ---
    rf"(array\.)?logsumexp (bool_|{_UNSIGNED}): {_MATRIX}(, axis=(0\)|[([]0, -?1|\(1, 0).*|, keepdims=True)?\)?$": "MLX takes differences in the unsigned type, where they wrap around",
    rf"softmax {_WHOLE}: F\(X\((\)|2, 3\), axis=0|.*axis=\(0, 1)": "MLX gives integers, all of them 0, for some axes",
    rf"(isclose|allclose) {_UNSIGNED}: .*atol=1\.5": "MLX's differences of unsigned integers wrap around",
    rf"(isclose|allclose) {_SIGNED}: F\(S\(\), S\(\), equal_nan": "the distances of limits wrap around in MLX",
    rf"isclose ({_SIGNED}|uint32|uint64): F\(S\(\)\[:, None\]": "the distances of limits wrap around in MLX",
    rf"(array\.)?(mean {_LARGE}|(var|std) uint32): F\(S\(\)\)": "MLX adds integers up in their own type, where the sum wraps around",
    r"to_fp8 float64: ": "MLX takes the bytes of float64 for those of float32",
    r"segmented_mm \w+: F\(X\(4, 6\), Y\(5, 3\)": "MLX does not compare the shapes and reads elsewhere",
    r"take \w+: F\(.*, -1": "MLX cannot take one position that counts from the end",
    r"full (?!float32)\w+: F\(\(2, 3\), X\(3\), mx\.float32": "MLX keeps the value's type, not the one asked for",
    rf"full (complex64|{_WHOLE}): F\(\(\), 1\.5, D|full bool_: F\(\(2, 3\), 2, ": "MLX lets the value's type win over the type that is asked for",
    r"cumsum bool_: F\(X\(4\), 0, dtype=D\)": "MLX gives int32 where booleans are asked for",
    r"concat(enate)? \w+: F\(\[(X\(\)\]|X\(2, 3\)\], 2)": "MLX does not look at the axis if there is one array",
    r"(zeros|ones) \w+: F\(2\.5\)": "MLX fails to convert the number, with RuntimeError: here it is a TypeError",
    r"sign (float16|bfloat16|float32|float64): F\(S": "the sign of NaN is NaN, as in NumPy; MLX gives 0",
    r"(array\.)?(sin|cos|tan) u?int64: F\(S\(\)\)": "beyond 1e13 it is a number in the function's range, see docs/mlx-users.md",
    # --- MLX has no answer; ours follows the array API standard or NumPy ---
    r"nan_to_num (float64|complex64): F\((X|S\(\)[,)](?! 1\.0))": "MLX has it for other types only",
    r"(expm1|sigmoid) complex64: ": "MLX has it for real numbers only",
    r"array\.__(and|or|xor|lshift|rshift)__ \w+: F\((3|0\.5|True), ": "MLX has no operators of bits with a number on the left",
    r"cumulative_(sum|prod) \w+: .*include_initial": "the array API standard's",
    r"vecdot \w+: F\(X\(2, 3\), Y\(3\)\)": "arrays of different ranks broadcast, as in the array API standard",
    r"array\.__reduce__ ": "arrays can be pickled",
    rf"linalg\.norm {_WHOLE}: F\(X\(2, 3\), (\"nuc\"|2)": "integers are taken as float32, as for other norms",
    r"linalg\.(det|slogdet) (float16|bfloat16): F\(E\(4": "half precision is converted for all sizes, not only the small",
    r"block_masked_mm float64: .*(B|None)|hadamard_transform float64: .*(4|8|12|1\.0)": "MLX has it for float32 only",
    r"conv(?!1d \w+: .*groups)\w+ float64: .*(\), 1, 2, 2|groups=2|dilation=2|stride=2|1, \(1, 0\)\))": "MLX has it for float32 only, with these arguments",
    r"gather_mm (float16|bfloat16|float64): .*I\(": "MLX on the CPU has it for float32 only",
    r"(qqmm|gather_qqmm) float32: .*mode": "MLX on the CPU has no such products",
    r"(matmul|array\.__i?matmul__) u?int\d+: F\(X\((3|4|0|2, 1|2, 3\), Y\(3)": "products of integers, as in the array API standard",
    r"matmul (bool_|u?int(8|16|32)|int64): .*T\(\"int32": "as above",
    r"(addmm u?int\d+: F\(X\((\), |2)|inner u?int\d+: F\(X\((3|2, 3))": "as above",
    r"(tensordot u?int\d+: (?!.*2, 4)|einsum u?int\d+: .*(\.\.\.|ij->\"|ik|ij,j\"))": "as above",
    r"clip \w+: F\(X\(2, 3\), None, None": "without bounds nothing is clipped, as in the array API standard",
    r"linalg\.(inv|tri_inv|det|slogdet|cholesky|cholesky_inv|pinv|lu|lu_factor|qr) complex64: F\((E|mx\.stack)": "MLX has it for real matrices only",
    r"linalg\.(pinv|lu|lu_factor|qr) complex64: F\(X\(2, 3": "as above",
    r"linalg\.solve(_triangular)? complex64: F\((mx\.|E\((?!3\), X\(2\)))": "as above",
    r"linalg\.eig(vals)? float64: F\((E|mx\.stack)": "double precision stays, as complex128, which MLX does not have",
    # --- double precision is kept, in complex128, which MLX does not have ---
    r"(add|subtract|multiply|maximum|minimum|(floor_)?divide|logaddexp|pow(er)?|array\.__i?(add|sub|mul|(true|floor)div|pow)__) (float64: .*T\('complex64'|complex64: .*T\('float64')": "float64 and complex64 meet in complex128, as in the array API standard",
    r"(result_type|can_cast) float64: F\(D, mx\.complex64": "as above",
    r"fft\.(?!irfft float64: .*axis=1)i?r?fft[2n]? float64: F\((?!X\(\)|X\(4\), n=0|.*'a'|X\(2, 3\), (axis=2|axes=\(0, 2|s=\(2, 2))": "MLX transforms double precision as float32",
    # --- here it is an error ---
    r"quantize float64: F\(X\((4, 64\)\)|4, 64\), mode|2, 64\), 32|64, 4\))": "float64 is not quantized, in no mode",
    r"dequantize float64: F\(\*|(quantized_matmul|gather_qmm) float64: F\(X\((2, 64|2, 3|64, 2|3, 2, 64)\)(?!, .*32\)\)\)$)": "as quantize",
    r"broadcast_shapes float32: F\(\)": "of no shapes it is that of a scalar, as in the array API standard",
    # --- of no consequence ---
    r"(array\.)?cum(max|min) complex64: .*inclusive=False": "the infinity before the first element has an imaginary part in MLX",
    r"einsum_path float32: F\(\"ij,jk\", ": "the text names the result, which MLX leaves out if the caller does",
}
