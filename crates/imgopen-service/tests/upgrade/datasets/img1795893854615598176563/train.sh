#!/bin/sh
# Trains with the pictures beside it. Run it where sd-scripts of kohya-ss is installed, with SD_SCRIPTS set to its folder.
# The base model is in no models folder of the server: name its file below, unless it is one that Hugging Face has.
set -eu
cd "$(dirname "$0")"
exec accelerate \
  launch \
  "${SD_SCRIPTS:?set it to the folder of sd-scripts}"/train_network.py \
  '--pretrained_model_name_or_path=v1-5-pruned-emaonly' \
  '--train_data_dir=img' \
  '--caption_extension=.txt' \
  '--output_dir=output' \
  '--output_name=lora' \
  '--logging_dir=logs' \
  '--max_train_epochs=20' \
  '--train_batch_size=1' \
  '--resolution=512' \
  '--max_token_length=225' \
  '--clip_skip=1' \
  '--learning_rate=0.00001' \
  '--network_module=networks.lora' \
  --enable_bucket
