"""Runs the command line against a mock that Prism makes of a document: every operation, with each of its examples.

Its arguments are the program, the document and the mock's URL.
"""

import concurrent.futures
import json
import os
import subprocess
import sys

import yaml

PROGRAM, DOCUMENT, MOCK = sys.argv[1:]
KEYS = {"IMGOPEN_ACCESS_KEY_ID": "strangers-id", "IMGOPEN_ACCESS_KEY_SECRET": "strangers-secret"}
# Prism knows no slash inside a parameter, which the command line sends as it is.
PARAMETERS = {"toolCode": ["--tool-code", "roop"]}


def runs(operation):
    """The arguments and the request of every run."""
    flags = [flag for parameter in operation.get("parameters", []) for flag in PARAMETERS[parameter["name"]]]
    if "x-job" in operation:
        flags.append("--no-wait")
    for name, example in operation["requestBody"]["content"]["application/json"]["examples"].items():
        if "x-quirk" not in example:
            yield f"{operation['operationId']}, example {name}", flags, operation["operationId"], example["value"]


def run(place, flags, operation, request):
    """What is wrong with one run, if anything."""
    arguments = [PROGRAM, "run", operation, "--url", MOCK, "--request", "-", *flags]
    ended = subprocess.run(arguments, input=json.dumps(request), env={**os.environ, **KEYS}, capture_output=True, text=True)
    return f"{place}: exit {ended.returncode}: {ended.stderr}" if ended.returncode else None


def main():
    with open(DOCUMENT, encoding="utf-8") as file:
        operations = [item["post"] for item in yaml.safe_load(file)["paths"].values()]
    wanted = [found for operation in operations for found in runs(operation)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        faults = [fault for fault in pool.map(lambda found: run(*found), wanted) if fault]
    assert not faults, "\n".join(faults)
    print(f"{DOCUMENT}: the mock answered {len(wanted)} runs of {len(operations)} operations with success")


main()
