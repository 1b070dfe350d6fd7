// Computes cuBLASLt's epilogues.
#include "libraries/cublaslt_epilogue.h"

#include <cmath>

namespace simulated {
namespace {

struct Named {
  std::uint32_t number;
  const char* name;
  Epilogue epilogue;
};
using Activation = Epilogue::Activation;
using Sums = Epilogue::Sums;
constexpr Named kEpilogues[] = {
    {CUBLASLT_EPILOGUE_DEFAULT, "DEFAULT", {}},
    {CUBLASLT_EPILOGUE_BIAS, "BIAS", {Activation::none, true, false, Sums::none}},
    {CUBLASLT_EPILOGUE_RELU, "RELU", {Activation::relu, false, false, Sums::none}},
    {CUBLASLT_EPILOGUE_RELU_BIAS, "RELU_BIAS", {Activation::relu, true, false, Sums::none}},
    {CUBLASLT_EPILOGUE_RELU_AUX, "RELU_AUX", {Activation::relu, false, true, Sums::none}},
    {CUBLASLT_EPILOGUE_RELU_AUX_BIAS, "RELU_AUX_BIAS", {Activation::relu, true, true, Sums::none}},
    {CUBLASLT_EPILOGUE_DRELU, "DRELU", {Activation::relu_gradient, false, true, Sums::none}},
    {CUBLASLT_EPILOGUE_DRELU_BGRAD, "DRELU_BGRAD", {Activation::relu_gradient, false, true, Sums::of_result}},
    {CUBLASLT_EPILOGUE_GELU, "GELU", {Activation::gelu, false, false, Sums::none}},
    {CUBLASLT_EPILOGUE_GELU_BIAS, "GELU_BIAS", {Activation::gelu, true, false, Sums::none}},
    {CUBLASLT_EPILOGUE_GELU_AUX, "GELU_AUX", {Activation::gelu, false, true, Sums::none}},
    {CUBLASLT_EPILOGUE_GELU_AUX_BIAS, "GELU_AUX_BIAS", {Activation::gelu, true, true, Sums::none}},
    {CUBLASLT_EPILOGUE_DGELU, "DGELU", {Activation::gelu_gradient, false, true, Sums::none}},
    {CUBLASLT_EPILOGUE_DGELU_BGRAD, "DGELU_BGRAD", {Activation::gelu_gradient, false, true, Sums::of_result}},
    {CUBLASLT_EPILOGUE_BGRADA, "BGRADA", {Activation::none, false, false, Sums::of_a}},
    {CUBLASLT_EPILOGUE_BGRADB, "BGRADB", {Activation::none, false, false, Sums::of_b}},
};

// The documentation of "cublasLtEpilogue_t" specifies the tanh approximation of GELU.
constexpr float kSqrt2OverPi = 0.7978845608028654F, kCubic = 0.044715F;

float gelu(float x) { return 0.5F * x * (1 + std::tanh(kSqrt2OverPi * (x + kCubic * x * x * x))); }

float gelu_gradient(float x) {
  const float t = std::tanh(kSqrt2OverPi * (x + kCubic * x * x * x));
  return 0.5F * (1 + t) + 0.5F * x * (1 - t * t) * kSqrt2OverPi * (1 + 3 * kCubic * x * x);
}

// The vector of `count` elements in D's type for matrix z.
Matrix vector_at(const EpilogueBuffers& buffers, const Product& product, std::int64_t count) {
  return {buffers.bias, product.d.type, count, 1, count, buffers.bias_stride};
}

Matrix aux_matrix(const EpilogueBuffers& buffers, const Product& product) {
  return {buffers.aux, product.d.type, product.m, product.n, buffers.aux_ld, buffers.aux_stride};
}

// Column j of matrix z: bit i % 8 of byte i / 8 belongs to row i. (The project found this bit order; NVIDIA's
// nvmath-python, whose test_epilog.py reads the bits, uses it too. cublasLt.h only says "bit-mask".)
std::size_t byte_of(std::int64_t i) { return static_cast<std::size_t>(i / 8); }

char* bits_at(const EpilogueBuffers& buffers, std::int64_t z, std::int64_t j) {
  return static_cast<char*>(buffers.aux) + (z * buffers.aux_stride + j * buffers.aux_ld) / 8;
}
std::uint64_t bit_bytes(const Product& product) { return static_cast<std::uint64_t>((product.m + 7) / 8); }

// x := max(x, 0) does not specify the result for NaN, nor the bit for 0. Here NaN becomes 0 and the bit for 0 is set,
// as a library might do: callers that depend on either must not use this epilogue.
bool relu(const EpilogueBuffers& buffers, const Product& product, bool aux, std::int64_t z, std::vector<float>& sums,
          const std::string& who) {
  float* value = sums.data();
  for (std::int64_t j = 0; j < product.n; ++j) {
    std::vector<char> bits(bit_bytes(product));
    for (std::int64_t i = 0; i < product.m; ++i, ++value) {
      const bool passes = *value >= 0;
      if (passes) bits[byte_of(i)] = static_cast<char>(bits[byte_of(i)] | 1 << i % 8);
      if (!passes) *value = 0;
    }
    if (!aux) continue;
    char* to = device_write(bits_at(buffers, z, j), bit_bytes(product), who + ": auxiliary buffer");
    if (to == nullptr) return false;
    std::copy(bits.begin(), bits.end(), to);
  }
  return true;
}

bool relu_gradient(const EpilogueBuffers& buffers, const Product& product, std::int64_t z, std::vector<float>& sums,
                   const std::string& who) {
  float* value = sums.data();
  for (std::int64_t j = 0; j < product.n; ++j) {
    const char* bits = device_read(bits_at(buffers, z, j), bit_bytes(product), who + ": auxiliary buffer");
    if (bits == nullptr) return false;
    for (std::int64_t i = 0; i < product.m; ++i, ++value) {
      if ((bits[i / 8] >> i % 8 & 1) == 0) *value = 0;
    }
  }
  return true;
}

// The auxiliary output is rounded to the buffer's type; GELU itself is computed from the unrounded sum.
bool activate(const Epilogue& epilogue, const EpilogueBuffers& buffers, const Product& product, std::int64_t z,
              std::vector<float>& sums, const std::string& who) {
  switch (epilogue.activation) {
    case Activation::none:
      return true;
    case Activation::relu:
      return relu(buffers, product, epilogue.aux, z, sums, who);
    case Activation::relu_gradient:
      return relu_gradient(buffers, product, z, sums, who);
    case Activation::gelu:
      if (epilogue.aux && !store(aux_matrix(buffers, product), z, sums, who + ": auxiliary buffer")) return false;
      for (float& sum : sums) sum = gelu(sum);
      return true;
    case Activation::gelu_gradient: {
      const auto argument = load<float>(aux_matrix(buffers, product), z, false, who + ": auxiliary buffer");
      if (argument.empty()) return false;
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] *= gelu_gradient(argument[i]);
      return true;
    }
  }
  return false;
}

// The row sums of a matrix [rows x columns], or its column sums, added in order.
std::vector<float> row_sums(const std::vector<float>& values, std::int64_t rows) {
  std::vector<float> sums(static_cast<std::size_t>(rows));
  for (std::size_t e = 0; e < values.size(); ++e) sums[e % sums.size()] += values[e];
  return sums;
}
std::vector<float> column_sums(const std::vector<float>& values, std::int64_t columns) {
  std::vector<float> sums(static_cast<std::size_t>(columns));
  const std::size_t rows = values.size() / sums.size();
  for (std::size_t e = 0; e < values.size(); ++e) sums[e / rows] += values[e];
  return sums;
}

// Sums the result after the activation's gradient, as nvmath-python's test_epilog.py expects; cublasLt.h says that both
// gradients are applied "independently". cublasLt.h: BGRADA and BGRADB reduce op(A) and op(B) over k.
bool write_sums(Sums kind, const EpilogueBuffers& buffers, const Product& product, std::int64_t z,
                const std::vector<float>& result, const std::string& who) {
  std::vector<float> sums;
  if (kind == Sums::of_result) {
    sums = row_sums(result, product.m);
  } else {
    const std::vector<float> operand =
        kind == Sums::of_a ? load_a<float>(product, z, who) : load_b<float>(product, z, who);
    if (operand.empty()) return false;
    sums = kind == Sums::of_a ? row_sums(operand, product.m) : column_sums(operand, product.n);
  }
  const Matrix to = vector_at(buffers, product, static_cast<std::int64_t>(sums.size()));
  return store(to, z, sums, who + ": bias gradient");
}

}  // namespace

bool parse_epilogue(std::uint32_t number, Epilogue& epilogue) {
  for (const Named& named : kEpilogues) {
    if (named.number != number) continue;
    epilogue = named.epilogue;
    return true;
  }
  return false;
}

std::string name_of_epilogue(std::uint32_t number) {
  for (const Named& named : kEpilogues) {
    if (named.number == number) return named.name;
  }
  return std::to_string(number);
}

bool apply_epilogue(const Epilogue& epilogue, const EpilogueBuffers& buffers, const Product& product, std::int64_t z,
                    std::vector<float>& sums, const std::string& who) {
  if (epilogue.bias) {  // "Bias ... broadcasted to all columns and added before applying final postprocessing"
    const auto bias = load<float>(vector_at(buffers, product, product.m), z, false, who + ": bias");
    if (bias.empty()) return false;
    for (std::size_t e = 0; e < sums.size(); ++e) sums[e] += bias[e % bias.size()];
  }
  return activate(epilogue, buffers, product, z, sums, who) &&
         (epilogue.sums == Sums::none || write_sums(epilogue.sums, buffers, product, z, sums, who));
}

}  // namespace simulated
