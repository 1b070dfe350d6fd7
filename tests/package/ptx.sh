#!/usr/bin/env bash
# ptx.sh BUILD: what nvcc makes of the kernels, checked without a GPU. No floating-point atomics, whose sums would depend
# on the order of arrival; 16-byte loads and stores in the kernels that are written for them; no local memory.
# Compiles each src/cuda/*.cu once more with the build's own flags, for compute capability 9.0 alone, into BUILD/ptx.
set -euo pipefail
build=$1
mkdir -p "$build/ptx"

# Kernels that move 16 bytes at a time, of which every instance that is named so must: what must be there, and an
# extended regular expression on the demangled name. Other instances are for pointers or sizes that don't allow it;
# random numbers come by fours, which of bf16 are 8 bytes.
# batch_normalize should store 16 bytes too, but nvcc 13.0 splits its store into elements.
vector_kernels='
load,store ::map_kernel<
load,store ::convert_kernel<(float|__nv_bfloat16), (float|__nv_bfloat16)>
load,store ::binary_kernel<[^,]*, [248],
load,store ::scale_by_kernel<
store      ::fill_kernel<
load,store ::finish(_relu)?_kernel<
load,store ::optim_kernel<
load,store ::dropout_kernel<[a-z]+>
store      ::(uniform|normal)_kernel<[a-z]+>
load,store ::(gather_rows|copy_block)_kernel<descent::gpu::Pack<
store      ::gather_images_kernel<[a-z]+, 4>
load,store ::(max|average|global_average)_pool(_backward)?_kernel<[a-z0-9_]+, [248][,>]
load,store ::max_pool_2x2(_backward)?_kernel<[a-z0-9_]+, [248], descent::gpu::Place(Bytes|Bits), true>
load,store ::batch_(gradient|pool|pool_gradient)_kernel<[a-z0-9_]+, descent::gpu::NormWidth<[248], true>
load       ::batch_normalize_kernel<[a-z0-9_]+, descent::gpu::NormWidth<[248], true>
load,store ::layer(_gradient)?_kernel<[a-z0-9_]+, descent::gpu::NormWidth<[248], true>
load       ::(batch_moments|gradient_sums)_kernel<[a-z0-9_]+, descent::gpu::NormWidth<[248], true>
load       ::reduce_(short|long)_rows_kernel<descent::gpu::[A-Z][A-Za-z<>]*, (float|double|__nv_bfloat16),
load       ::reduce_(columns|few_rows)_kernel<descent::gpu::[A-Z][A-Za-z<>]*, [248], (float|double|__nv_bfloat16),
store      ::max_backward_zero_kernel<
load,store ::(softmax|softmax_backward|cross_entropy)_streamed_kernel<
load,store ::pairwise_loss_kernel<
load,store ::conv_(tile|patch)_kernel<
load       ::conv_filter_kernel<
'
# Kernels that may use local memory; none of them is hot: those of f64, which serves to check gradients, and normal, whose
# sine and cosine reduce large arguments there.
local_memory='^[^(]*(<double|Sum<double>)|::normal_kernel<'
# Not ours: sorting is CUB's.
foreign='(^|[ (<:])(cub|thrust)::'

# The build's commands for device code, one a line.
commands() {
  sed -n 's/^ *"command": "\(.*\)",\{0,1\}$/\1/p' "$build/compile_commands.json" | sed 's/\\"/"/g; s/\\\\/\\/g' |
    grep -E '/src/cuda/[a-z_0-9]+\.cu( |$)' || true
}

up_to_date() { # FILE: newer than all that it was made of
  [ -f "$1" ] && [ -s "$1.d" ] || return 1
  local -a parts
  read -r -a parts < <(sed 's/\\$//' "$1.d" | tr '\n' ' ')
  local part
  for part in "${parts[@]:1}"; do
    [ "$part" -ot "$1" ] || return 1
  done
}

# Makes NAME.fatbin, device code alone and not compressed, so that the PTX can be read out of it, and NAME.fatbin.log
# with the resources of each kernel.
compile() {
  local -a words kept=()
  eval "words=($1)"
  local i source=''
  for ((i = 0; i < ${#words[@]}; ++i)); do
    case ${words[i]} in
      -o | -MT | -MF | -gencode | -arch) ((++i)) ;;
      -c | -MD | --generate-code=* | -arch=* | */ccache) ;;
      *.cu) source=${words[i]} kept+=("${words[i]}") ;;
      *) kept+=("${words[i]}") ;;
    esac
  done
  local fatbin
  fatbin=$build/ptx/$(basename "$source" .cu).fatbin
  if up_to_date "$fatbin"; then return; fi
  "${kept[@]}" -fatbin -gencode 'arch=compute_90,code=[compute_90,sm_90]' -no-compress -Xptxas -v -MD -MF "$fatbin.d" \
    -o "$fatbin" 2>"$fatbin.log" || { cat "$fatbin.log"; rm -f "$fatbin"; return 1; }
}

# Of each kernel and device function in PTX: name, 16-byte loads and stores of global memory, and atomic operations that
# are not on integers, or that compare and swap, which is how the others are written where there are none.
# shellcheck disable=SC2016
survey='
  /^\.(visible |weak |extern )*\.?(entry|func)/ { seek = 1 }
  seek && match($0, /[A-Za-z_$][A-Za-z0-9_$]*\(/) {
    name = substr($0, RSTART, RLENGTH - 1); seek = 0; kernels[name] = 1
  }
  { op = $1 ~ /^@/ ? $2 : $1 }
  op ~ /^ld\./ && op !~ /\.(shared|local|param|const)/ && op ~ /\.(v4\.[bfus]32|v2\.[bfus]64)$/ { ++loads[name] }
  op ~ /^st\./ && op !~ /\.(shared|local|param)/ && op ~ /\.(v4\.[bfus]32|v2\.[bfus]64)$/ { ++stores[name] }
  op ~ /^(atom|red)\./ && op ~ /\.(b?f(16|32|64)(x2)?|cas)(\.|$)/ { atomics[name] = atomics[name] " " op }
  END { for (name in kernels) print name, loads[name] + 0, stores[name] + 0, atomics[name] }
'
# Of each kernel in the assembler report: name, bytes of its stack frame, of spilled stores and loads, registers.
# shellcheck disable=SC2016
resources='
  /Function properties for/ { name = $NF }
  /bytes stack frame/ { frame[name] = $1; spilled[name] = $5 + $9 }
  /: Used [0-9]+ registers/ { print name, frame[name], spilled[name], $5 }
'

mapfile -t all < <(commands)
[ ${#all[@]} -gt 0 ] || { echo "ptx: $build/compile_commands.json names no src/cuda/*.cu"; exit 1; }
export build
export -f compile up_to_date
# shellcheck disable=SC2016
printf '%s\0' "${all[@]}" | xargs -0 -P "$(nproc)" -n 1 bash -c 'set -euo pipefail; compile "$0"'

failures=0
complain() { echo "ptx: $*"; failures=$((failures + 1)); }

kernels=0 most=0 seen=''
for command in "${all[@]}"; do
  file=$(sed -E 's/.*\/src\/cuda\/([a-z_0-9]+\.cu)( .*|$)/\1/' <<<"$command")
  fatbin=$build/ptx/${file%.cu}.fatbin
  mapfile -t lines < <(strings -n 1 "$fatbin" | awk "$survey" | c++filt | grep -vE "$foreign" | sort)
  for line in "${lines[@]}"; do
    [[ $line =~ ^(.*)\ ([0-9]+)\ ([0-9]+)\ (.*)$ ]]
    name=${BASH_REMATCH[1]} loads=${BASH_REMATCH[2]} stores=${BASH_REMATCH[3]} atomics=${BASH_REMATCH[4]}
    kernels=$((kernels + 1)) seen+=$name$'\n'
    [ -z "$atomics" ] || complain "$file: $name: $atomics"
    while read -r needs pattern; do
      if [ -z "$needs" ] || ! [[ $name =~ $pattern ]]; then continue; fi
      case $needs in *load*) [ "$loads" -gt 0 ] || complain "$file: $name loads no 16 bytes at once" ;; esac
      case $needs in *store*) [ "$stores" -gt 0 ] || complain "$file: $name stores no 16 bytes at once" ;; esac
    done <<<"$vector_kernels"
  done
  while read -r frame spilled registers name; do
    [ "$registers" -le "$most" ] || most=$registers
    if [ "$frame" -gt 0 ] || [ "$spilled" -gt 0 ]; then
      [[ $name =~ $local_memory ]] ||
        complain "$file: $name: a stack frame of $frame bytes, $spilled bytes of spilled registers"
    fi
  done < <(awk "$resources" "$fatbin.log" | awk '{print $2, $3, $4, $1}' | c++filt | grep -vE "$foreign")
done
while read -r needs pattern; do
  [ -z "$needs" ] || [[ $seen =~ $pattern ]] || complain "no kernel is named like $pattern"
done <<<"$vector_kernels"
[ "$kernels" -gt 0 ] || complain "no kernel was found"
echo "$kernels kernels in ${#all[@]} files: $failures complaints; at most $most registers"
[ "$failures" -eq 0 ]
