"""FastAPI with `keras.Model.predict`, as tutorials have it: bytes of float32 in, JSON out.

python serve_keras.py MODEL.keras PORT
"""

import sys

import keras
import numpy as np
import uvicorn
from fastapi import Body, FastAPI

app = FastAPI()
model = keras.saving.load_model(sys.argv[1], compile=False)


@app.post("/predict")
def predict(body: bytes = Body(media_type="application/octet-stream")) -> list[list[float]]:
    """Answers with the output for each image in the body."""
    pixels = np.frombuffer(body, np.float32).reshape(-1, *model.input_shape[1:]) / 255
    values: list[list[float]] = model.predict(pixels, verbose=0).tolist()
    return values


uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
