"""A stand-in for YuNet: an .onnx file of the same inputs and outputs that "sees a face" wherever a picture is red.

OpenCV's FaceDetectorYN runs it as it runs YuNet; the real file (face_detection_yunet of the OpenCV model zoo) is not
part of the pack. Written as protobuf by hand, which needs no further library.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

STRIDES = (8, 16, 32)
SHARPNESS, RED_LIMIT = 0.1, 100.0


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_field(1, size) for size in values.shape)
    return dims + _field(2, 1) + _field(8, name) + _field(9, values.astype("<f4").tobytes())


def _node(kind: str, inputs: list[str], output: str, **attributes: list[int]) -> bytes:
    named = b"".join(_field(1, name) for name in inputs) + _field(2, output) + _field(3, output) + _field(4, kind)
    for name, numbers in attributes.items():
        ints = b"".join(_field(8, number) for number in numbers)
        named += _field(5, _field(1, name) + ints + _field(20, 7))
    return named


def _value(name: str, dims: list[int | str]) -> bytes:
    shape = b"".join(_field(1, _field(1 if isinstance(size, int) else 2, size)) for size in dims)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


def write_red_square_detector(path: Path) -> Path:
    """The .onnx file."""
    nodes, weights, outputs = [], [], []
    for head, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        for stride in STRIDES:
            name = f"{head}_{stride}"
            seen = np.zeros((channels, 3, stride, stride))
            bias = np.zeros(channels)
            if head in ("cls", "obj"):  # red - blue of the cell's mean colour, beyond a limit; channels are BGR
                seen[0, 2], seen[0, 0] = SHARPNESS / stride**2, -SHARPNESS / stride**2
                bias[0] = -SHARPNESS * RED_LIMIT
            weights += [_tensor(f"{name}.weight", seen), _tensor(f"{name}.bias", bias)]
            convolved = f"{name}.raw" if head in ("cls", "obj") else name
            sizes = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
            nodes.append(_node("Conv", ["input", f"{name}.weight", f"{name}.bias"], convolved, **sizes))
            if convolved != name:
                nodes.append(_node("Sigmoid", [convolved], name))
            outputs.append(_value(name, [1, channels, f"h{stride}", f"w{stride}"]))
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "red")
    graph += b"".join(_field(5, tensor) for tensor in weights)
    graph += _field(11, _value("input", [1, 3, "h", "w"])) + b"".join(_field(12, output) for output in outputs)
    path.write_bytes(_field(1, 7) + _field(8, _field(1, "") + _field(2, 13)) + _field(7, graph))
    return path
