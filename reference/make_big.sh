#!/usr/bin/env bash
# Makes the models and dumps that tests/big.rs compares with, in FOLDER: SmolLM2-135M-Instruct, all-MiniLM-L6-v2 and a random
# model of Qwen2.5-0.5B's shape. Run it in the virtual environment of requirements.txt.
set -euo pipefail
folder=${1:?usage: make_big.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"

python "$here/get_smollm2.py" "$folder/smollm2"
python "$here/capture.py" "$folder/smollm2" --dtype float32 --decode 4 -o "$folder/smollm2-ref.safetensors" --prompt \
  "The history of the steam engine begins long before James Watt: in the first century, Hero of Alexandria described a device that turned when water in it was heated. For many hundred years nobody found a use for it."
python "$here/greedy.py" "$folder/smollm2" -n 64 -o "$folder/smollm2-greedy.json" \
  --prompt "The capital of France is" \
  --prompt "Once upon a time, in a small village by the sea, there lived" \
  --prompt "Water boils at a temperature of" \
  --prompt "def fibonacci(n):" \
  --prompt "The three primary colours are"

python "$here/get_minilm.py" "$folder/minilm"
python "$here/capture.py" "$folder/minilm" --dtype float32 -o "$folder/minilm-ref.safetensors" --prompt \
  "The history of the steam engine begins long before James Watt: in the first century, Hero of Alexandria described a device."

python "$here/make_qwen_shape.py" "$folder/qwen-shape"
ids=$(python -c 'import numpy; print(*numpy.random.default_rng(0).integers(0, 151643, 32), sep=",")')
python "$here/capture.py" "$folder/qwen-shape" --dtype float32 --ids "$ids" -o "$folder/qwen-ref.safetensors"
