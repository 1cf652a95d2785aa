"""The least that serves an ONNX model over HTTP in Python: bytes of float32 in, bytes of float32 out, no checks.

python serve_onnx.py MODEL.onnx PORT
"""

import sys

import numpy as np
import onnxruntime
import uvicorn
from starlette.types import Receive, Scope, Send

options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
shape = session.get_inputs()[0].shape[1:]


async def app(_: Scope, receive: Receive, send: Send) -> None:
    """Answers every request with the probabilities of the images in its body."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    pixels = np.frombuffer(body, np.float32).reshape(-1, *shape)
    answer = session.run([output], {name: pixels})[0].tobytes()
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False, lifespan="off")
