from typing import Any

import numpy as np

OLDEST_ONNXRUNTIME: tuple[int, int]
__version__: str

class FerError(Exception): ...
class ModelError(FerError): ...
class EngineError(FerError): ...
class ImageError(FerError): ...

_Face = tuple[
    tuple[float, float, float, float],
    float | None,
    list[list[float]] | None,
    tuple[int, list[float]] | None,
    str | None,
]

class NativeClassifier:
    def __init__(
        self,
        *,
        model: str | None,
        engine: str,
        provider: str,
        faces: str,
        threads: int | None,
        library: Any,
        detector: Any,
        min_score: float | None,
        min_face: float | None,
        max_faces: int | None,
        small_faces: bool,
        meta: list[tuple[str, str]],
    ) -> None: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def description(self) -> tuple[str, str, str, str, list[str]]: ...
    def run(
        self, pictures: list[str | bytes | np.ndarray], whole: bool
    ) -> list[tuple[str | None, int, int, list[_Face]]]: ...

def run(arguments: list[str]) -> int: ...
