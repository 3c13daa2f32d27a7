"""Calls the recording server with the client of openapi-python-client through Prism, which judges both sides.

Its arguments are the generated package, the URL of Prism in front of the server, the server's own URL, and the path of the
document there. Every operation is called with each of the document's examples.
"""

import importlib
import json
import pkgutil
import sys

import httpx

PACKAGE, PRISM, SERVER, DOCUMENT = sys.argv[1:]
KEYS = {"X-Request-req-accessKeyId": "strangers-id", "X-Request-req-accessKeySecret": "strangers-secret"}
# Prism knows no slash inside a parameter. The client escapes it, and the server reads both forms.
PARAMETERS = {"toolCode": ("tool_code", "hair/change")}

package = importlib.import_module(PACKAGE)
models = importlib.import_module(f"{PACKAGE}.models")


def modules():
    """The module of every operation, by its id."""
    api = importlib.import_module(f"{PACKAGE}.api")
    found = pkgutil.walk_packages(api.__path__, f"{api.__name__}.")
    return {found.name.rpartition(".")[2]: found.name for found in found if not found.ispkg}


def examples(body):
    """The examples of a body that keep its schema."""
    examples = body["content"]["application/json"]["examples"]
    return [(name, example["value"]) for name, example in examples.items() if "x-quirk" not in example]


def recorded():
    """What has reached the server since the last call."""
    return httpx.get(f"{SERVER}/recorded").json()


def violations(answer):
    """What Prism has found wrong with a request or its answer."""
    return answer.headers.get("sl-violations")


def call(client, operation, module):
    """Sends every example of an operation as the generated types write it, and compares."""
    name = "".join(word.capitalize() for word in operation["operationId"].split("_"))
    request, response = (getattr(models, f"{name}{kind}") for kind in ("Request", "Response"))
    parameters = dict(PARAMETERS[parameter["name"]] for parameter in operation.get("parameters", []))
    for key, value in examples(operation["requestBody"]):
        place = f"{operation['operationId']}, example {key}"
        body = request.from_dict(value)
        assert body.to_dict() == value, f"{place}: the type loses something: {body.to_dict()}"
        answer = module.sync_detailed(client=client, body=body, **parameters)
        assert violations(answer) is None, f"{place}: {violations(answer)}"
        assert answer.status_code == 200, f"{place}: {answer.status_code} {answer.content}"
        assert isinstance(answer.parsed, response), f"{place}: the answer is read as {type(answer.parsed)}"
        assert answer.parsed.to_dict() == json.loads(answer.content), f"{place}: the type of the answer loses something"
        [record] = recorded()
        assert (record["operation"], record["request"]) == (operation["operationId"], value), f"{place}: {record}"
        yield place


def main():
    document = httpx.get(SERVER + DOCUMENT).json()
    operations = {path: item["post"] for path, item in document["paths"].items()}
    path, operation = next((path, operation) for path, operation in operations.items() if "{" not in path)
    refused = httpx.post(PRISM + path, headers=KEYS, json=[])
    assert violations(refused), f"Prism finds nothing wrong with a list sent to {operation['operationId']}"
    recorded()
    with package.Client(base_url=PRISM, headers=KEYS, timeout=30) as client:
        names = modules()
        calls = [
            place
            for operation in operations.values()
            for place in call(client, operation, importlib.import_module(names[operation["operationId"]]))
        ]
    print(f"{PACKAGE}: Prism found nothing wrong in {len(calls)} calls of {len(operations)} operations")


main()
