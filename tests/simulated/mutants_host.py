"""Faults in the host's side of the CUDA backend: what is queued, where, in which order, on which memory, and how the libraries are
asked. Kinds: stream, pool (of memory), staging, capture, ld (leading dimensions and strides), transpose, epilogue, workspace,
alignment, plan, precision, write (accumulating), arguments (the sizes and addresses that a kernel is given), order (of work)."""

from mutant import Mutant

LINALG = "cuda_gemm_test"
LT = "cuda_lt_test"
CONV = "cuda_conv_test"
CAPTURE = "capture_test"
MEMORY = "cuda_memory_test"
METRICS = "metrics_test Counts.AndTopKOnCudaAreTheCpus"
OPS = "op_cases_test OpCases.CudaAgreesWithTheCpu"
MIXED = "mixed_precision_test MixedPrecision.CudaAgreesWithTheCpu"
TRAINING = "cuda_training_test"

# Why no test sees that a capture lets go of its plans.
NO_CODE = "only a cuDNN engine compiled at run time needs its plan in a replay, and cudnn_plan.cpp takes none"
LT_COPIES = "a captured cuBLASLt product needs its plan's descriptors no more, on the simulated device as on a GPU"


def host(file, *rows, objects=()):
    """Rows of kind, text, what it becomes, and tests; a last element {"survives": why} explains what none can see."""
    made = []
    for kind, text, becomes, *tests in rows:
        survives = tests.pop()["survives"] if isinstance(tests[-1], dict) else ""
        made.append(Mutant(file, text, becomes, kind, tuple(tests), survives, objects))
    return made


def without(field):
    """An order of keys that does not look at a field."""
    return f"friend bool operator<(Key x, Key y) {{ x.{field} = y.{field}; return (x <=> y) < 0; }}\n"


LT_KEY = "    friend auto operator<=>(const Key&, const Key&) = default;\n"
CONV_KEY = "  friend auto operator<=>(const ConvKey&, const ConvKey&) = default;\n"

HOST = [
    *host(
        "runtime/stream.h",
        ("pool", "data_(stream.allocate(bytes_)) {}\n  ~Scratch() { stream_.free(data_, bytes_); }",
         "data_(stream.allocate(bytes_)) { stream.free(data_, bytes_); }\n  ~Scratch() {}", MIXED),
        objects=("gemm/gemm.cu",),
    ),
    *host(
        "runtime/stream.h",
        ("pool", "bytes_(static_cast<std::size_t>(n) * sizeof(T))", "bytes_(static_cast<std::size_t>(n))", CONV, MIXED),
        objects=("conv/cudnn.cpp",),
    ),
    *host(
        "runtime/allocator.cpp",
        ("pool", "    it->second.pop_back();\n", "", LINALG),
        ("pool", "return (bytes + step - 1) / step * step;", "return bytes / step * step;", LINALG),
        ("pool", "  if (capturing_) owner_[block] = capturing_;\n", "", MEMORY),
        ("pool", "Pool& pool = capturing_ ? *capturing_ : *shared_;", "Pool& pool = *shared_;", MEMORY),
        ("pool", "std::shared_ptr<Pool> pool = capturing_ ? capturing_ : shared_;", "std::shared_ptr<Pool> pool = shared_;", MEMORY),
        ("pool", "    pool = it->second;\n", "", MEMORY),
        ("pool", "for (auto it = owner_.begin(); it != owner_.end();) it = it->second == pool ? owner_.erase(it) : std::next(it);", "",
         MEMORY),
        ("pool", "        shared_->free[bytes].push_back(block);\n", "", MEMORY),
        ("capture", "if (!capturing_ && in_use_ + cached_ + wanted > limit_) release_cached();",
         "if (!capturing_) release_cached();", MEMORY),
        ("pool", "  if (!capturing_) release_cached();\n}", "}", MEMORY),
        ("pool", "  release_cached();\n  return new_block(wanted);", "  return nullptr;", MEMORY),
    ),
    *host(
        "runtime/context.cpp",
        ("stream", "cudaLaunchKernel(kernel, grid, block, args, shared, stream.handle)",
         "cudaLaunchKernel(kernel, grid, block, args, shared, nullptr)", CAPTURE),
        ("stream", "  check(cublasSetStream(blas, handle), \"cublasSetStream\");\n", "", LINALG),
        ("stream", "  return blas_ = owner.release();",
         "  check(cublasSetStream(blas, handle), \"cublasSetStream\");\n  return blas_ = owner.release();", LINALG),
        ("workspace", "blas_workspace_ = allocator_.allocate_for_ever(kBlasWorkspace);", "blas_workspace_ = allocator_.allocate_for_ever(256);",
         LINALG),
        ("workspace", "lt_workspace_ = allocator_.allocate_for_ever(kLtWorkspace);", "lt_workspace_ = allocator_.allocate_for_ever(256);",
         LINALG),
        ("capture", "if (std::find(kept_.begin(), kept_.end(), plan) == kept_.end()) kept_.push_back(std::move(plan));", "", CAPTURE,
         {"survives": NO_CODE}),
    ),
    *host(
        "gemm/cublaslt.h",
        ("ld", "ld_first(g.transpose_b ? g.k : g.n),", "ld_first(g.transpose_b ? g.n : g.k),", LINALG),
        ("ld", "ld_second(g.transpose_a ? g.m : g.k),", "ld_second(g.transpose_a ? g.k : g.m),", LINALG),
        ("ld", "ld_result(g.n) {}", "ld_result(g.m) {}", LINALG),
        ("ld", "rows(g.n),\n        columns(g.m),", "rows(g.m),\n        columns(g.n),", LINALG),
        ("transpose", "op_first(g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N)", "op_first(g.transpose_b ? CUBLAS_OP_N : CUBLAS_OP_T)", LINALG),
        ("transpose", "op_second(g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N)", "op_second(g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N)",
         LINALG),
        ("plan", LT_KEY, LT_KEY + without("transpose_a"), LINALG),
        ("plan", LT_KEY, LT_KEY + without("batch"), LINALG),
        ("plan", LT_KEY, LT_KEY + without("end"), LINALG),
        ("plan", LT_KEY, LT_KEY + without("types"), MIXED),
        ("precision", LT_KEY, LT_KEY + without("precision"), LINALG),
        ("alignment", LT_KEY, LT_KEY + without("align_a"), LINALG),
        ("alignment", LT_KEY, LT_KEY + without("align_c"), LINALG),
        objects=("gemm/gemm.cu", "gemm/cublaslt.cpp"),
    ),
    *host(
        "gemm/cublaslt.cpp",
        ("transpose", "CUBLASLT_MATMUL_DESC_TRANSA, in.op_first);\n  set(plan->desc, CUBLASLT_MATMUL_DESC_TRANSB, in.op_second);",
         "CUBLASLT_MATMUL_DESC_TRANSA, in.op_second);\n  set(plan->desc, CUBLASLT_MATMUL_DESC_TRANSB, in.op_first);", LINALG),
        ("transpose", "return op == CUBLAS_OP_N ? make_layout(type, rows, columns, ld, batch) :",
         "return op == CUBLAS_OP_T ? make_layout(type, rows, columns, ld, batch) :", LINALG),
        ("ld", "CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, rows * columns);", "CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, rows);",
         LINALG),
        ("ld", "CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batch));", "CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, 1);", LINALG),
        ("ld", "in.op_second, key.k, in.columns, in.ld_second, key.batch);", "in.op_second, key.k, in.columns, key.k, key.batch);", LINALG),
        ("precision", "return precision == Precision::tf32 ?", "return precision != Precision::tf32 ?", LINALG),
        ("precision", "make_matmul(narrow ? CUBLAS_COMPUTE_32F : compute_type(key.precision));", "make_matmul(CUBLAS_COMPUTE_32F_FAST_TF32);",
         LINALG),
        ("precision", "return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;", "return dtype == DType::bf16 ? CUDA_R_16F : CUDA_R_32F;",
         MIXED),
        ("alignment", "std::min<std::uintptr_t>(address & (~address + 1), kVector)", "std::max<std::uintptr_t>(address & 1, kVector)",
         LINALG),
        ("alignment", "make_preference(key.align_b, key.align_a, key.align_c);", "make_preference(kVector, kVector, kVector);", LINALG),
        ("alignment", "if (address != nullptr && alignment(address) < kVector) return false;", "static_cast<void>(address);", LINALG, LT),
        ("epilogue", "if (end.aux != nullptr) set(plan->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, end.aux_stride);", "", LT, LINALG),
        ("epilogue", "CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, end.aux_stride);", "CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, 2 * end.aux_stride);",
         LINALG, LT),
        ("epilogue", "  set_pointers(plan.desc, end.bias, end.aux);\n",
         "  static std::map<const Plan*, LtEpilogue> first;\n  const LtEpilogue& of = first.try_emplace(&plan, end).first->second;\n"
         "  set_pointers(plan.desc, of.bias, end.aux);\n", LT),
        ("epilogue", "  set_pointers(plan.desc, end.bias, end.aux);\n", "  set_pointers(plan.desc, end.bias, nullptr);\n", LINALG, LT),
        ("epilogue", "  set(plan->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, end.kind);\n", "", LINALG, LT),
        ("epilogue", "  return status == CUBLAS_STATUS_NOT_SUPPORTED ||\n", "  return\n", "SIMULATED_EPILOGUES=none " + LINALG),
        ("epilogue", "  if (usable == found.begin() + count) return nullptr;\n  plan->chosen = *usable;\n", "  plan->chosen = found[0];\n",
         "SIMULATED_EPILOGUES=none " + LINALG),
        ("workspace", "&plan.chosen.algo, context_.lt_workspace(),", "&plan.chosen.algo, c,", LINALG),
        ("workspace", "&plan.chosen.algo, context_.lt_workspace(),", "&plan.chosen.algo, nullptr,", LINALG),
        ("workspace", "plan.chosen.workspaceSize, context_.stream().handle),", "plan.chosen.workspaceSize / 2, context_.stream().handle),",
         LINALG),
        ("workspace", "std::uint64_t{Context::kLtWorkspace}", "std::uint64_t{2 * Context::kLtWorkspace}", LT),
        ("stream", "plan.chosen.workspaceSize, context_.stream().handle),", "plan.chosen.workspaceSize, nullptr),", LINALG),
        ("write", "beta = static_cast<float>(g.beta);", "beta = 0.0F;", LINALG),
        ("capture", "  context_.keep_for_capture(at->second);\n", "", CAPTURE, {"survives": LT_COPIES}),
        ("plan", "&alpha, b, plan.first.get(), a, plan.second.get(),", "&alpha, a, plan.first.get(), b, plan.second.get(),", LINALG),
        ("plan", "CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE", "CUBLASLT_REDUCTION_SCHEME_MASK", LT),
    ),
    *host(
        "gemm/gemm.cu",
        ("write", "const S alpha = static_cast<S>(g.alpha), beta = static_cast<S>(g.beta);", "const S alpha = static_cast<S>(g.alpha), beta = 0;",
         LINALG),
        ("ld", "in.ld_first, g.k * g.n, a,", "in.ld_first, g.m * g.n, a,", LINALG),
        ("transpose", "cublasGemmEx_64(blas, in.op_first, in.op_second,", "cublasGemmEx_64(blas, in.op_second, in.op_first,", LINALG),
        ("ld", "a, types.operands, in.ld_second, &beta, c, types.result, in.ld_result,\n                          types.compute",
         "a, types.operands, in.ld_first, &beta, c, types.result, in.ld_result,\n                          types.compute", LINALG),
        ("epilogue", "EndKinds{CUBLASLT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_RELU_AUX_BIAS}",
         "EndKinds{CUBLASLT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_RELU_BIAS}", LINALG),
        ("epilogue", "EndKinds{CUBLASLT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_RELU_AUX_BIAS}",
         "EndKinds{CUBLASLT_EPILOGUE_GELU_BIAS, CUBLASLT_EPILOGUE_RELU_AUX_BIAS}", MIXED, LINALG),
        ("epilogue", "sums != nullptr ? CUBLASLT_EPILOGUE_DRELU_BGRAD : CUBLASLT_EPILOGUE_DRELU;", "CUBLASLT_EPILOGUE_DRELU;", LINALG),
        ("epilogue", "{.kind = CUBLASLT_EPILOGUE_BGRADB,", "{.kind = CUBLASLT_EPILOGUE_BGRADA,", LINALG),
        ("epilogue", "end.aux_stride = bits ? 8 * relu_pitch(g.n) : g.n;", "end.aux_stride = bits ? relu_pitch(g.n) : g.n;", LINALG),
        ("epilogue", "const auto* left = fused_bias ? nullptr : bias.as<EpilogueBias<T>>();", "const auto* left = bias.as<EpilogueBias<T>>();",
         LINALG),
        ("epilogue", "  if (c.dtype == DType::bf16) bias = casts.narrow(bias);  // cuBLASLt takes it in the result's type alone\n", "",
         MIXED),
        ("write", "const bool with_sums = sums && sums.write == Write::overwrite &&", "const bool with_sums = sums &&", LINALG),
        ("write", "if (sums.write == Write::overwrite && sums.view.dtype == c.dtype && g.transpose_a", "if (sums.view.dtype == c.dtype && g.transpose_a",
         LINALG),
        ("pool", "      const View argument = aux ? aux : c;\n", "      const View argument = c;\n", LINALG),
    ),
    *host(
        "gemm/precision.h",
        ("precision", "return result == DType::bf16 || precision() == Precision::tf32;", "return true;", LINALG, CONV),
        objects=("gemm/gemm.cu", "conv/cudnn.cpp"),
    ),
    *host(
        "cast_buffers.h",
        ("write", "return {result(g.view, g.write == Write::accumulate), g.write};", "return {result(g.view), g.write};", MIXED),
        ("precision", "round_to_bf16(stream_, r.wide.numel(), r.wide.as<float>(), r.narrow.as<__nv_bfloat16>());",
         "round_to_bf16(stream_, r.wide.numel() - 1, r.wide.as<float>(), r.narrow.as<__nv_bfloat16>());", MIXED),
        objects=("gemm/gemm.cu", "conv/conv.cu", "conv/cudnn.cpp"),
    ),
    *host(
        "runtime/runtime.cpp",
        ("staging", "      check(cudaEventSynchronize(done_), \"cudaEventSynchronize\");\n", "", LINALG, MEMORY),
        ("staging", "      check(cudaMemcpyAsync(static_cast<std::byte*>(device) + at, pinned, count, cudaMemcpyHostToDevice, stream.handle),\n"
         "            \"cudaMemcpyAsync to the device\");\n      staging.record(stream.handle);\n",
         "      staging.record(stream.handle);\n      check(cudaMemcpyAsync(static_cast<std::byte*>(device) + at, pinned, count, "
         "cudaMemcpyHostToDevice, stream.handle),\n            \"cudaMemcpyAsync to the device\");\n", LINALG, MEMORY),
        ("staging", "            \"cudaMemcpyAsync to the device\");\n      staging.record(stream.handle);\n",
         "            \"cudaMemcpyAsync to the device\");\n", LINALG, MEMORY),
        ("staging", "            \"cudaMemcpyAsync to the host\");\n      staging.record(stream.handle);\n",
         "            \"cudaMemcpyAsync to the host\");\n", LINALG, MEMORY),
        ("staging", "return staging_[turn_ = 1 - turn_];", "return staging_[turn_];", MEMORY),
        ("staging", "const std::size_t count = std::min(kPiece, bytes - at);", "const std::size_t count = std::min(kPiece, bytes);", MEMORY),
        ("stream", "pinned, count, cudaMemcpyHostToDevice, stream.handle),", "pinned, count, cudaMemcpyHostToDevice, nullptr),", LINALG, MEMORY),
        ("stream", "cudaMemcpyDeviceToHost, stream.handle),", "cudaMemcpyDeviceToHost, nullptr),", LINALG, MEMORY),
        ("stream", "cudaMemcpyDeviceToDevice, stream.handle)", "cudaMemcpyDeviceToDevice, nullptr)", CAPTURE),
        ("stream", "cudaGraphLaunch(captured_.executable, context_.handle)", "cudaGraphLaunch(captured_.executable, nullptr)", CAPTURE),
        ("stream", "check(cudaEventRecord(done_, stream), \"cudaEventRecord\");", "check(cudaEventRecord(done_, nullptr), \"cudaEventRecord\");",
         LINALG, MEMORY),
        ("capture", "    refuse_in_capture(\"a copy from the host\");\n", "", CAPTURE),
        ("capture", "    refuse_in_capture(\"a copy to the host\");\n", "", CAPTURE),
        ("capture", "    refuse_in_capture(\"a wait for the device\");\n", "", CAPTURE),
        ("capture", "cudaStreamCaptureModeRelaxed", "cudaStreamCaptureModeGlobal", CAPTURE),
        ("capture", "    context_.capturing = true;\n", "", CAPTURE),
        ("capture", "      context_.capturing = false;\n", "", CAPTURE),
        ("capture", "      for (const auto& work : std::exchange(context_.after_capture, {})) work();\n", "", MEMORY),
        ("capture", "    if (context_.capturing) {\n      context_.after_capture.emplace_back(destroy);", "    if (false) {\n"
         "      context_.after_capture.emplace_back(destroy);", MEMORY),
        ("capture", "      static_cast<void>(end());\n", "      context_.capturing = false;\n      context_.allocator().end_pool();\n", CAPTURE),
        ("pool", "      context_.allocator().end_pool();\n", "", MEMORY),
        ("pool", "    if (status != cudaSuccess) context_.allocator().release_pool(pool);\n", "    context_.allocator().release_pool(pool);\n", MEMORY),
        ("pool", "      context.allocator().release_pool(captured.pool);\n", "", MEMORY),
        ("pool", "      if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));\n      context_.allocator().release_pool(pool);\n",
         "      if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));\n", MEMORY),
        ("order", "check(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeRelaxed), \"cudaStreamBeginCapture\");\n", "static_cast<void>(stream);\n",
         CAPTURE),
    ),
    *host(
        "conv/cudnn_plan.cpp",
        ("ld", "return {s[1] * s[2] * s[3], 1, s[2] * s[3], s[3]};", "return {s[1] * s[2] * s[3], 1, s[3], s[1] * s[3]};", CONV),
        ("ld", "return {s[0], s[3], s[1], s[2]}; }", "return {s[0], s[3], s[2], s[1]}; }", CONV),
        ("plan", ".set_padding(list(key.pad)).set_stride(list(key.stride))", ".set_padding(list(key.stride)).set_stride(list(key.pad))", CONV),
        ("plan", "std::vector<std::int64_t> list(const std::array<std::int64_t, 2>& s) { return {s[0], s[1]}; }",
         "std::vector<std::int64_t> list(const std::array<std::int64_t, 2>& s) { return {s[1], s[0]}; }", CONV),
        ("plan", "graph.conv_wgrad(input(graph, key, kY, key.y), input(graph, key, kX, key.x),",
         "graph.conv_wgrad(input(graph, key, kX, key.x), input(graph, key, kY, key.y),", CONV),
        ("plan", "{kX, const_cast<void*>(operands.x)}, {kW, const_cast<void*>(operands.w)},",
         "{kX, const_cast<void*>(operands.w)}, {kW, const_cast<void*>(operands.x)},", CONV),
        ("epilogue", "      if (key.relu) result = graph.pointwise(result, pointwise(fe::PointwiseMode_t::RELU_FWD));\n", "", CONV),
        ("epilogue", "pointwise(fe::PointwiseMode_t::ADD)", "pointwise(fe::PointwiseMode_t::MUL)", CONV),
        ("precision", "if (!key.bf16 && key.precision == Precision::f32) return {{false, without_copies}};", "", CONV),
        ("precision", "plans.filter_numeric_notes(kUnwanted, false)", "plans.filter_numeric_notes({}, false)", CONV),
        ("precision", "kUnwanted = {fe::NumericalNote_t::NONDETERMINISTIC,", "kUnwanted = {fe::NumericalNote_t::DOWN_CONVERT_INPUTS,", CONV),
        ("precision", "plans.filter_numeric_notes({fe::NumericalNote_t::TENSOR_CORE}, limits.tensor_cores)",
         "plans.filter_numeric_notes({}, limits.tensor_cores)", CONV),
        ("precision", "key.bf16 && !(name == kW && key.w_f32) ?", "key.bf16 ?", MIXED),
        ("workspace", "!graph->build(limits) || graph->get_workspace_size(workspace_bytes).is_bad()", "!graph->build(limits)", CONV),
    ),
    *host(
        "conv/cudnn_plan.h",
        ("plan", CONV_KEY, CONV_KEY + without("pad").replace("Key", "ConvKey"), CONV),
        ("plan", CONV_KEY, CONV_KEY + without("bias").replace("Key", "ConvKey"), CONV),
        ("plan", CONV_KEY, CONV_KEY + without("relu").replace("Key", "ConvKey"), CONV),
        ("plan", CONV_KEY, CONV_KEY + without("bf16").replace("Key", "ConvKey"), MIXED, CONV),
        ("precision", CONV_KEY, CONV_KEY + without("precision").replace("Key", "ConvKey"), CONV),
        objects=("conv/cudnn.cpp", "conv/cudnn_plan.cpp"),
    ),
    *host(
        "conv/cudnn.cpp",
        ("stream", "cudnnSetStream(cudnn.handle, stream.handle);", "cudnnSetStream(cudnn.handle, nullptr);", CONV),
        ("alignment", "v.numel() <= std::numeric_limits<std::int32_t>::max() && reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;",
         "v.numel() <= std::numeric_limits<std::int32_t>::max();", CONV),
        ("workspace", "static_cast<std::int64_t>(plan->workspace_bytes()));", "static_cast<std::int64_t>(plan->workspace_bytes() / 2));", CONV),
        ("workspace", "plan->run(cudnn.handle, operands, workspace->data());", "plan->run(cudnn.handle, operands, nullptr);", CONV),
        ("plan", "  key.pad = {g.padding_h, g.padding_w};\n", "", CONV),
        ("plan", "key.stride = {g.stride_h, g.stride_w};", "key.stride = {g.stride_w, g.stride_h};", CONV),
        ("write", "  if (to.write == Write::overwrite) {\n    operands.*result = to.view.data;", "  if (true) {\n    operands.*result = to.view.data;",
         CONV),
        ("epilogue", "const float* bias_left = fused_bias ? nullptr : wide_bias.as<float>();", "const float* bias_left = wide_bias.as<float>();", CONV),
        ("epilogue", "const bool can_bias = bias && suits(bias),", "const bool can_bias = static_cast<bool>(bias),", CONV),
        ("epilogue", "    bias = casts.narrow(bias);\n", "", MIXED),
        ("capture", "  context.keep_for_capture(plan);\n", "", CAPTURE, {"survives": NO_CODE}),
        ("precision", "can_relu = relu && libraries_activate(y.dtype) &&", "can_relu = relu &&", CONV),
    ),
    *host(
        "conv/conv.cu",
        ("order", "      siblings().pool->max_backward(Pool2dOptions(), dy, aux, {whole, Write::overwrite});\n      backward_filter(g, x, whole, dw);\n",
         "      backward_filter(g, x, whole, dw);\n      siblings().pool->max_backward(Pool2dOptions(), dy, aux, {whole, Write::overwrite});\n",
         MIXED),
        ("arguments", "1, whole.numel() / s.out_channels, s.out_channels, dbias);", "whole.numel() / s.out_channels, s.out_channels, 1, dbias);",
         MIXED),
        ("write", "conv_backward_data(stream, s, dy.as<T>(), w.as<T>(), dx.view.as<T>(), dx.write);",
         "conv_backward_data(stream, s, dy.as<T>(), w.as<T>(), dx.view.as<T>(), Write::overwrite);", CONV),
    ),
    *host(
        "indexing/indexing.cu",
        ("arguments", "index.as<std::int32_t>(), count, bytes, y.data);", "index.as<std::int32_t>(), count, bytes / 2, y.data);", OPS),
        ("ld", "src_pitch * size, dst.data, dst_pitch * size, rows,", "src_pitch * size, dst.data, src_pitch * size, rows,", OPS),
    ),
    *host(
        "sort.cu",
        ("stream", "n, 0, bits,\n                                          stream.handle),", "n, 0, bits,\n                                          nullptr),",
         METRICS),
        ("stream", "run(thrust::cuda::par_nosync(memory).on(stream.handle));", "run(thrust::cuda::par_nosync(memory));", METRICS, TRAINING),
        ("workspace", "temporary(stream, static_cast<std::int64_t>(bytes));", "temporary(stream, static_cast<std::int64_t>(bytes / 2));", METRICS),
        ("pool", "static_cast<char*>(stream->allocate(static_cast<std::size_t>(bytes)));",
         "static_cast<char*>(stream->allocate(static_cast<std::size_t>(bytes) / 2));", METRICS, TRAINING),
        ("arguments", "sorted_values, n, 0, bits,", "sorted_values, n, 0, bits - 1,", METRICS, OPS),
        ("arguments", "thrust::stable_sort_by_key(policy, keys, keys + static_cast<std::int32_t>(n), values);",
         "thrust::stable_sort_by_key(policy, keys, keys + static_cast<std::int32_t>(n) - 1, values);", TRAINING),
        ("write", "counts[k] += ends[k]", "counts[k] = ends[k]", METRICS, "indexing_gpu"),
        ("arguments", "(k == 0 ? 0 : ends[k - 1])", "(k <= 1 ? 0 : ends[k - 1])", METRICS),
    ),
    *host(
        "optim/optim.cu",
        ("arguments", "buffers.buffer[j] = states[j].as<T>();", "buffers.buffer[j] = states[0].as<T>();", TRAINING),
        ("order", "gpu::advance(stream, o, lr.as<double>(), step.as<double>(), coefficients.as<double>());", "static_cast<void>(o);", CAPTURE, TRAINING),
        ("arguments", "max_norm, factor.as<double>());", "max_norm * max_norm, factor.as<double>());", TRAINING),
    ),
    *host(
        "norm/norm.cu",
        ("arguments", "s.momentum, s.eps};", "s.eps, s.momentum};", OPS),
        ("arguments", "return {g.view.as<T>(), g.write == Write::accumulate};", "return {g.view.as<T>(), false};", OPS, TRAINING),
        ("arguments", "gpu::layer<T>(stream, rows, x.numel() / rows,", "gpu::layer<T>(stream, x.numel() / rows, rows,", OPS),
    ),
    *host(
        "reduce/reduce.cu",
        ("arguments", "gpu::reduce(stream, op, x.as<T>(), outer, n, inner,", "gpu::reduce(stream, op, x.as<T>(), outer, inner, n,", OPS),
    ),
    *host(
        "random/random.cu",
        ("order", "    advance_call(stream, call.as<std::int32_t>());\n", "", CAPTURE),
        ("arguments", "return {key.seed, key.stream,", "return {key.stream, key.seed,", CAPTURE, TRAINING, OPS),
    ),
    *host(
        "loss/loss.cu",
        ("arguments", "labels ? nullptr : target.as<T>(), weight.as<T>(), logits.shape[0], logits.shape[-1],",
         "labels ? nullptr : target.as<T>(), nullptr, logits.shape[0], logits.shape[-1],", OPS),
    ),
]
