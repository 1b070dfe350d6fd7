#!/usr/bin/env bash
# From a fresh Debian or Ubuntu machine to a trained digit classifier: installs what is missing, builds descent, obtains
# MNIST (or says loudly what it took instead), trains the `cnn` preset and says what to try next.
#   tools/quickstart.sh [--epochs N] [--out FOLDER]      defaults: 3 epochs, runs/quickstart
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

epochs=3 out=runs/quickstart replace=(--force) # the default folder belongs to this script
while [ $# -gt 0 ]; do
  case $1 in
    --epochs) epochs=${2:?--epochs needs a number}; shift ;;
    --out) out=${2:?--out needs a folder} replace=(); shift ;;
    --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "quickstart: unknown argument '$1' (see --help)" >&2; exit 1 ;;
  esac
  shift
done
say() { printf '\n== %s\n' "$*"; }
loud() { printf '\n%s\n%s\n%s\n' "$line" "!! $*" "$line"; }
line='!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!'

say "1/4 Packages"
tools/deps.sh --install build speed fetch
echo "all there"

say "2/4 Building (Release, library and command)"
build=build/quickstart
generator=()
if [ ! -f $build/CMakeCache.txt ] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
cuda=(-DDESCENT_CUDA=OFF) # without a GPU its code would only take time to compile
if nvidia-smi -L >/dev/null 2>&1; then cuda=(-DCMAKE_CUDA_ARCHITECTURES=native); fi
cmake -S . -B $build "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DDESCENT_BUILD_TESTS=OFF -DDESCENT_UNITY=ON "${cuda[@]}"
cmake --build $build --parallel "${DESCENT_JOBS:-$(nproc)}" --target descent_cli
descent=$build/bin/descent

say "3/4 Data"
data=mnist
if ! $descent data fetch mnist; then
  loud "MNIST could not be obtained. Trying Fashion-MNIST (clothes, not digits) from the distribution."
  if tools/deps.sh --install fashion && $descent data fetch fashion-mnist; then
    data=fashion-mnist
    loud "Training on FASHION-MNIST. Its accuracy must not be compared with MNIST's."
  else
    data=synthetic
    loud "Neither is here. Training on SYNTHETIC digits, drawn by descent itself; this is not MNIST."
  fi
fi

say "4/4 Training the cnn preset on $data, $epochs epochs"
$descent train --model cnn --data $data --epochs "$epochs" --seed 1 --out "$out" "${replace[@]}"

cat <<NEXT

Trained on $data. In $out/: model.safetensors, metrics.jsonl, config.json, report.html (open it in a browser).
What to try next:
  $descent predict --model $out --data $data 0 17 42
  $descent predict --model $out my-digit.png
  $descent eval --model $out/model.safetensors --data $data --json
  $descent inspect $out/model.safetensors
  $descent train --model mlp --data $data --epochs 5 --out runs/mlp
  $descent --help
NEXT
