"""Asks a server with the clients of Triton and KServe; runs in an environment that has them, and imports nothing else.

python protocol_clients.py triton|kserve URL MODEL IMAGES.npy [TOKEN]    prints what the client got as JSON

Each call gets headers of its own: both clients write the length of their JSON into those that they are given.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def main() -> None:
    """Prints the answers of one client."""
    client, url, model, path, *token = sys.argv[1:]
    headers = {"Authorization": f"Bearer {token[0]}"} if token else {}
    ask = with_triton if client == "triton" else with_kserve
    print(json.dumps(ask(url, model, np.load(path), headers)))


def with_triton(url: str, model: str, images: Any, headers: dict[str, str]) -> dict[str, Any]:
    """Returns what `tritonclient.http` got: health, metadata, errors, and labels of JSON and binary tensors."""
    import tritonclient.http as triton  # type: ignore[import-not-found]

    client = triton.InferenceServerClient(url.partition("://")[2])
    found: dict[str, Any] = {
        "live": client.is_server_live(headers=dict(headers)),
        "ready": client.is_server_ready(headers=dict(headers)),
        "model_ready": client.is_model_ready(model, headers=dict(headers)),
        "other_ready": client.is_model_ready("other", headers=dict(headers)),
        "server": client.get_server_metadata(headers=dict(headers)),
        "metadata": client.get_model_metadata(model, headers=dict(headers)),
        "labels": [],
    }

    def infer(pixels: Any, binary: bool, name: str = model, version: str = "", datatype: str = "FP32") -> Any:
        tensor = triton.InferInput("image", list(pixels.shape), datatype)
        tensor.set_data_from_numpy(pixels, binary_data=binary)
        outputs = [triton.InferRequestedOutput(key, binary_data=binary) for key in ("label", "probabilities", "unsure")]
        return client.infer(
            name, [tensor], model_version=version, outputs=outputs, request_id="7", headers=dict(headers)
        )

    version = found["metadata"]["versions"][0]
    for size in (1, 3, len(images)):
        for binary in (False, True):
            for dtype, datatype in (("float32", "FP32"), ("uint8", "UINT8"), ("float64", "FP64")):
                answer = infer(images[:size].astype(dtype), binary, version=version, datatype=datatype)
                labels = [text.decode() if isinstance(text, bytes) else text for text in answer.as_numpy("label")]
                rows = answer.as_numpy("probabilities")
                found["labels"].append(labels)
                assert rows.shape == (size, 10) and np.allclose(rows.sum(axis=1), 1, atol=1e-4)
                assert rows.argmax(axis=1).tolist() == [int(label) for label in labels]
                assert answer.as_numpy("unsure").shape == (size,) and answer.get_response()["id"] == "7"
    waiting = [
        client.async_infer(model, [_tensor(triton, images[index : index + 1])], headers=dict(headers))
        for index in range(len(images))
    ]
    found["together"] = [answer.get_result().as_numpy("label")[0].decode() for answer in waiting]
    wrong = (
        lambda: infer(images[:1].astype("float32"), True, name="other"),
        lambda: infer(images[:1].astype("float32"), True, version="v9.9.9"),
        lambda: infer(images[:1, :5].astype("float32"), True),
        lambda: infer(np.full((1, 28, 28), np.nan, "float32"), True),
        lambda: client.get_model_metadata("other", headers=dict(headers)),
        lambda: client.load_model(model, headers=dict(headers)),
        lambda: client.get_model_repository_index(headers=dict(headers)),
    )
    found["errors"] = [_message(call, triton.InferenceServerException) for call in wrong]
    return found


def _message(call: Callable[[], Any], expected: Any) -> str:
    try:
        call()
    except expected as error:
        return str(error.message())
    return "none"


def _tensor(triton: Any, pixels: Any) -> Any:
    tensor = triton.InferInput("image", list(pixels.shape), "FP32")
    tensor.set_data_from_numpy(pixels.astype("float32"))
    return tensor


def with_kserve(url: str, model: str, images: Any, headers: dict[str, str]) -> dict[str, Any]:
    """Returns what `kserve.InferenceRESTClient` got."""
    return asyncio.run(_with_kserve(url, model, images, headers))


async def _with_kserve(url: str, model: str, images: Any, headers: dict[str, str]) -> dict[str, Any]:
    from kserve import InferenceRESTClient, InferInput, InferRequest  # type: ignore[import-not-found]
    from kserve.inference_client import RESTConfig  # type: ignore[import-not-found]

    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    found: dict[str, Any] = {
        "live": await client.is_server_live(url, headers=dict(headers)),
        "ready": await client.is_server_ready(url, headers=dict(headers)),
        "model_ready": await client.is_model_ready(url, model, headers=dict(headers)),
        "labels": [],
        "errors": [],
    }

    async def infer(pixels: Any, binary: bool, name: str = model) -> Any:
        tensor = InferInput("image", list(pixels.shape), "FP32")
        tensor.set_data_from_numpy(pixels.astype("float32"), binary_data=binary)
        request = InferRequest(name, [tensor], request_id="7", parameters={"binary_data_output": binary})
        return await client.infer(url, request, model_name=name, headers=dict(headers))

    for size in (1, 3, len(images)):
        for binary in (False, True):
            answer = await infer(images[:size], binary)
            outputs = {output.name: output.as_numpy() for output in answer.outputs}
            found["labels"].append([_text(label) for label in outputs["label"]])
            assert outputs["probabilities"].shape == (size, 10)
    answers = await asyncio.gather(*(infer(images[index : index + 1], True) for index in range(len(images))))
    found["together"] = [
        _text(output.as_numpy()[0]) for answer in answers for output in answer.outputs if output.name == "label"
    ]
    for pixels, name in ((images[:1], "other"), (images[:1, :5], model)):
        try:
            await infer(pixels, True, name)
            found["errors"].append("none")
        except Exception as error:  # noqa: BLE001 - KServe passes on what its HTTP client raises
            found["errors"].append(str(error))
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main()
