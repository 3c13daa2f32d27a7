"""Calls the recording server with the Python client of openapi-generator, and compares what arrived with expected.json.

Its first argument is the server's URL. The fields are set by hand here and stand in expected.json a second time.
"""

import json
import pathlib
import sys
import urllib.request

import openapi_client as imgopen

URL = sys.argv[1]
EXPECTED = json.loads(pathlib.Path(__file__).with_name("expected.json").read_text())

TRAINING = imgopen.SubmitTrainingRequest(
    file_url_list=[f"https://example.com/strangers/{number:02}.png" for number in range(1, 11)],
    task_id="strangers-1",
    max_epochs=31,
    batch_size=3,
    learning_rate="0.00005",
    max_token_length=150,
    clip_skip=4,
    random_crop=True,
    pretrained_model="photon_v1_84728",
    repeats=7,
    mixed_precision="fp16",
    save_precision="float",
    num_cpu_threads_per_process=5,
    seed=4294967297,
    cache_latents=False,
    cache_latents_to_disk=True,
    lr_scheduler="cosine",
    lr_warmup_steps=11,
    optimizer_type="AdamW",
    resolution=512,
    enable_bucket=False,
    min_bucket_reso=128,
    max_bucket_reso=1024,
    text_encoder_lr="2e-05",
    unet_lr="3e-05",
    network_dropout=0.25,
    rank_dropout=0.5,
    module_dropout=0.75,
    network_module="networks.dylora",
    network_dim=64,
    network_alpha=32,
    network_args="unit=4",
    v2=True,
    flip_aug=True,
    color_aug=True,
    gradient_accumulation_steps=2,
    noise_offset=0.125,
    callback_url="https://example.com/strangers/callback",
)


def fetch(path):
    """What the server reports beside the API."""
    with urllib.request.urlopen(URL + path) as response:
        return json.load(response)


def call():
    """Submits the training and asks for two tasks."""
    settings = imgopen.Configuration(host=URL)
    settings.api_key = {"accessKeyId": "strangers-id", "accessKeySecret": "strangers-secret"}
    with imgopen.ApiClient(settings) as client:
        submitted = imgopen.TrainModelApi(client).submit_training(TRAINING)
        assert submitted.code == "200", submitted
        queries = imgopen.TaskQueryApi(client)
        task = queries.query_task(imgopen.QueryTaskRequest(business_task_id="strangers-2"))
        assert task.data.status == 2, task
        tool = imgopen.QueryToolTaskRequest(business_task_id="strangers-3")
        answer = queries.query_tool_task("hair/change", tool)
        assert answer.data.task_id, answer


def compare():
    """What the server recorded is what was sent, in the declared order, and nothing is left unset."""
    recorded = fetch("/recorded")
    for found, wanted in zip(recorded, EXPECTED, strict=True):
        assert json.dumps(found) == json.dumps(wanted), f"recorded: {found}\nexpected: {wanted}"
    fields = fetch("/openapi.json")["components"]["schemas"]["SubmitTrainingRequest"]["properties"]
    unset = fields.keys() - EXPECTED[0]["request"].keys()
    assert not unset, f"the document has new fields; set them in client.py, client.ts and expected.json: {unset}"


fetch("/recorded")
call()
compare()
print("Python client: the server recorded exactly what was sent")
